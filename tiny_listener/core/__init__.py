"""Events, whatever they come from: listener, routes, dispatch, dependency injection. Knows no protocol."""
