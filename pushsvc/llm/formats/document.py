"""Reads an answer that comes as one document, and not as a stream. Pure."""

from __future__ import annotations

from pushsvc.events import exact_json
from pushsvc.llm.formats import openai
from pushsvc.llm.formats.joining import Json
from pushsvc.llm.formats.openai import Chunk, Malformed


class NoAnswer(ValueError):
    """The document is no answer. `error`: the error object that it has instead, if any."""

    def __init__(self, message: str, error: Json | None = None) -> None:
        super().__init__(message)
        self.error = error


def read_document(body: bytes) -> tuple[Chunk, bytes | None]:
    """Read a document: give one chunk with its whole content, and its JSON if it is a completion, and not a chunk.

    Raises NoAnswer.
    """
    if not body.strip():
        raise NoAnswer("The model sent nothing.")
    try:
        raw = openai.parse(body.strip()).raw
    except Malformed as error:
        raise NoAnswer(f"The model sent what cannot be read: {error}.") from error
    whole = exact_json.loads(raw)
    failure = openai.error_of(whole)
    if failure is not None or not whole.get("choices"):
        raise NoAnswer("The model sent no answer.", failure)
    chunk = Chunk(exact_json.dumps(openai.chunk_of(whole), lone=True), {})
    return chunk, raw if openai.is_completion(whole) else None
