import no_such_dependency  # type: ignore[import-not-found]

app = no_such_dependency.app
