"""Where published events are stored: the journal of the engine, whose memory is the truth while it runs."""
