"""Errors a user can act on: each names the place (file, line, column, field) and the way out."""


class RecblrError(ValueError):
    """Base of every error that a user's input can cause; the app and the command line print its text alone."""


class DataError(RecblrError):
    """A log or catalogue that cannot be read as it is."""


class ConfigError(RecblrError):
    """A configuration with an unknown key or a value out of range."""


class CheckpointError(RecblrError):
    """A run folder that is missing, incomplete, altered, or made for another catalogue."""


class HistoryError(RecblrError):
    """A history that no backbone can answer for, such as one without a single known item."""


class ExplainError(RecblrError):
    """A question about a recommendation that cannot be answered, or not by the method that was asked for."""
