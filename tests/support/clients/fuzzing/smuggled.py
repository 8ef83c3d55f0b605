"""Requests whose end two servers could see in two places, each with a second request hidden in it.

`<S>` stands for the hidden request, `<L>` for its length in decimal digits, `<X>` for that in hexadecimal ones, `<X2>`
for two bytes more; `<C>` for the line and first fields of the request that hides it. What the sources call these
attacks: CL.TE, TE.CL, TE.0, 0.CL, EXT.TERM and so on (portswigger.net/research, w4ke.info/2025/06/18/funky-chunks).
"""

from __future__ import annotations

from typing import Final

_END: Final = "\r\n"
_NO_CHUNK: Final = "0\r\n\r\n<S>"
_CHUNK: Final = "<X>\r\n<S>\r\n0\r\n\r\n"


_CODED: Final = "Transfer-Encoding: chunked\r\n\r\n"


def _with_length(*fields: str) -> list[str]:
    return [f"<C>{_END.join(fields)}\r\n\r\n<S>"]


def _with_coding(*fields: str) -> list[str]:
    """The body may be read as one chunk, as none, or as no body."""
    head = f"<C>{_END.join(fields)}\r\n\r\n"
    return [head + _CHUNK, head + _NO_CHUNK, f"{head}<S>"]


def _with_chunk(size: str) -> list[str]:
    """The empty line ends the body where the size is read as 0."""
    return [f"<C>{_CODED}{size}\r\n\r\n<S>\r\n0\r\n\r\n"]


LENGTHS: Final = {
    "twice": _with_length("Content-Length: <L>", "Content-Length: <L>"),
    "differing": _with_length("Content-Length: <L>", "Content-Length: 0"),
    "differing, nothing first": _with_length("Content-Length: 0", "Content-Length: <L>"),
    "list": _with_length("Content-Length: <L>, <L>"),
    "list of differing": _with_length("Content-Length: 0,<L>"),
    "plus": _with_length("Content-Length: +<L>"),
    "minus": _with_length("Content-Length: -<L>"),
    "minus nothing": _with_length("Content-Length: -0"),
    "hexadecimal": _with_length("Content-Length: 0x<X>"),
    "letters": _with_length("Content-Length: <L>a"),
    "fraction": _with_length("Content-Length: <L>.0"),
    "exponent": _with_length("Content-Length: <L>e0"),
    "underscore in the number": _with_length("Content-Length: 0_<L>"),
    "quoted": _with_length('Content-Length: "<L>"'),
    "empty": _with_length("Content-Length:"),
    "spaces alone": _with_length("Content-Length:  \t "),
    "spaces around": _with_length("Content-Length: \t <L> \t"),
    "space between": _with_length("Content-Length: 0 <L>"),
    "vertical tab": _with_length("Content-Length: \x0b<L>"),
    "form feed behind": _with_length("Content-Length: <L>\x0c"),
    "no-break space": _with_length("Content-Length: \xa0<L>"),
    "other digits": _with_length("Content-Length: \xb2<L>"),
    "zeros before": _with_length("Content-Length: 00000<L>"),
    "2^64 wraps to nothing": _with_length("Content-Length: 18446744073709551616"),
    "more than can be": _with_length(f"Content-Length: {'9' * 400}"),
    "space before the colon": _with_length("Content-Length : <L>"),
    "tab before the colon": _with_length("Content-Length\t: <L>"),
    "space before the name": _with_length(" Content-Length: <L>"),
    "folded": _with_length("X-A: b", " Content-Length: <L>"),
    "folded value": _with_length("Content-Length:", " <L>"),
    "first field folded": ["POST /healthz HTTP/1.1\r\n Content-Length: <L>\r\nHost: x\r\n\r\n<S>"],
    "behind a bare LF": _with_length("X-A: b\nContent-Length: <L>"),
    "behind a bare CR": _with_length("X-A: b\rContent-Length: <L>"),
    "before a bare CR": _with_length("Content-Length: <L>\rX-A: b"),
    "behind a NUL": _with_length("X-A: b\0Content-Length: <L>"),
    "with a NUL": _with_length("Content-Length: <L>\0"),
    "NUL in the name": _with_length("Content-Length\0: <L>"),
    "control character in the name": _with_length("Content-Length\x01: <L>"),
    "and a coding with an underscore": _with_length("Content-Length: <L>", "Transfer_Encoding: chunked"),
    "and one with an underscore": _with_length("Content-Length: <L>", "Content_Length: 0"),
    "colon alone": _with_length("Content-Length: <L>", ": 0"),
    "no colon": _with_length("Content-Length <L>"),
    "behind an empty line with a space": _with_length("X-A: b", " ", "Content-Length: <L>"),
    "in a trailer's place": [f"<C>{_CODED}0\r\nContent-Length: <L>\r\n\r\n"],
}

CODINGS: Final = {
    "with a length": _with_coding("Content-Length: <L>", "Transfer-Encoding: chunked"),
    "with a length after it": _with_coding("Transfer-Encoding: chunked", "Content-Length: <L>"),
    "with no length": _with_coding("Transfer-Encoding: chunked", "Content-Length: 0"),
    "with a length of nothing": _with_coding("Transfer-Encoding: chunked", "Content-Length:"),
    "with both, to be closed": _with_coding("Transfer-Encoding: chunked", "Content-Length: 4", "Connection: x"),
    "xchunked": _with_coding("Transfer-Encoding: xchunked"),
    "xchunked with a length": _with_coding("Transfer-Encoding: xchunked", "Content-Length: <L>"),
    "chunkedx": _with_coding("Transfer-Encoding: chunkedx"),
    "twice in a list": _with_coding("Transfer-Encoding: chunked, chunked"),
    "twice": _with_coding("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "gzip before": _with_coding("Transfer-Encoding: gzip, chunked"),
    "gzip before, in a field of its own": _with_coding("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"),
    "identity before": _with_coding("Transfer-Encoding: identity, chunked"),
    "chunked before identity": _with_coding("Transfer-Encoding: chunked, identity"),
    "chunked, then identity": _with_coding("Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
    "identity": _with_coding("Transfer-Encoding: identity"),
    "identity with a length": _with_coding("Transfer-Encoding: identity", "Content-Length: <L>"),
    "empty": _with_coding("Transfer-Encoding:"),
    "empty with a length": _with_coding("Transfer-Encoding:", "Content-Length: <L>"),
    "comma before": _with_coding("Transfer-Encoding: ,chunked"),
    "comma behind": _with_coding("Transfer-Encoding: chunked,"),
    "parameter": _with_coding("Transfer-Encoding: chunked;a=b"),
    "quoted": _with_coding('Transfer-Encoding: "chunked"'),
    "vertical tab": _with_coding("Transfer-Encoding: \x0bchunked"),
    "vertical tab behind": _with_coding("Transfer-Encoding: chunked\x0b"),
    "NUL": _with_coding("Transfer-Encoding: chunked\0"),
    "Kelvin sign": _with_coding("Transfer-Encoding: chun\xe2\x84\xaaed"),
    "space before the colon": _with_coding("Transfer-Encoding : chunked"),
    "space before the name": _with_coding(" Transfer-Encoding: chunked"),
    "folded": _with_coding("Transfer-Encoding:", " chunked"),
    "folded into another": _with_coding("X-A: b", "\tTransfer-Encoding: chunked"),
    "behind a bare LF": [f"<C>X-A: b\nTransfer-Encoding: chunked\r\n\r\n{_CHUNK}"],
    "behind a bare CR": _with_coding("X-A: b\rTransfer-Encoding: chunked"),
    "NUL in the name": _with_coding("Transfer\0-Encoding: chunked"),
}

CHUNKS: Final = {
    "0x": _with_chunk("0x<X2>"),
    "space before": _with_chunk(" <X2>"),
    "space behind": _with_chunk("<X2> "),
    "tab behind": _with_chunk("<X2>\t"),
    "plus": _with_chunk("+<X2>"),
    "minus": _with_chunk("-<X2>"),
    "minus nothing": _with_chunk("-0"),
    "empty": _with_chunk(""),
    "underscore": _with_chunk("0_<X2>"),
    "no digit": _with_chunk("<X2>g"),
    "NUL": _with_chunk("<X2>\0"),
    "vertical tab": _with_chunk("<X2>\x0b"),
    "17 digits": _with_chunk("1" + "0" * 16),
    "32 digits": _with_chunk("1" + "0" * 31),
    "zeros before": _with_chunk("0" * 14 + "<X2>"),
    "many zeros before": _with_chunk("0" * 70 + "<X2>"),
    "extension": _with_chunk("<X2>;a=b"),
    "quoted extension": _with_chunk('<X2>;a="b;c"'),
    "extension with spaces": _with_chunk("<X2> ; a = b"),
    "extension without a name": _with_chunk("<X2>;"),
    "extension with a bare LF": _with_chunk("<X2>;a\nb"),
    "extension with a bare CR": _with_chunk("<X2>;a\rb"),
    "extension with a NUL": _with_chunk("<X2>;a\0b"),
    "comma": _with_chunk("<X2>,a"),
    "LF in a quoted extension": ['<C>Transfer-Encoding: chunked\r\n\r\n<X2>;a="\n\r\n\r\n<S>\r\n0\r\n\r\n'],
    "line end in a quoted extension": ['<C>Transfer-Encoding: chunked\r\n\r\n<X2>;a="\r\n"\r\n\r\n<S>\r\n0\r\n\r\n'],
    "bare LF behind the size": [f"<C>{_CODED}<X2>\n\r\n<S>\r\n0\r\n\r\n"],
    "bare CR behind the size": [f"<C>{_CODED}<X2>\r\r\n<S>\r\n0\r\n\r\n"],
    "LF that ends an extension or not": [f"<C>{_CODED}2;\nxx\r\n<X2>\r\n\r\n<S>\r\n0\r\n\r\n"],
    "LF behind the data": [f"<C>{_CODED}1\r\nx\n<X2>\r\n\r\n<S>\r\n0\r\n\r\n"],
    "CR behind the data": [f"<C>{_CODED}1\r\nx\r<X2>\r\n\r\n<S>\r\n0\r\n\r\n"],
    "two bytes for the line end": [f"<C>{_CODED}1\r\nxyy<X2>\r\n\r\n<S>\r\n0\r\n\r\n"],
    "data longer than its size": [f"<C>{_CODED}1\r\nxy\r\n0\r\n\r\n<S>"],
    "last chunk of many zeros": [f"<C>{_CODED}000;<X>\r\nX-A: b\r\n\r\n"],
    "hidden in trailers": [f"<C>{_CODED}0\r\n<S>\r\n\r\n"],
}

_LINE: Final = "Host: x\r\nContent-Length: <L>\r\n\r\n<S>"

LINES: Final = {
    "bare LF": [f"POST /healthz HTTP/1.1\n{_LINE}"],
    "bare CR": [f"POST /healthz HTTP/1.1\r{_LINE}"],
    "bare LFs alone": [f"POST /healthz HTTP/1.1\r\n{_LINE}".replace("\r\n", "\n")],
    "head that ends with two LFs": ["<C>Content-Length: <L>\n\n<S>"],
    "head that ends with LF, CR, LF": ["<C>Content-Length: <L>\n\r\n<S>"],
    "head that ends with CRs": ["<C>Content-Length: <L>\r\r<S>"],
    "tabs between": [f"POST\t/healthz\tHTTP/1.1\r\n{_LINE}"],
    "two spaces": [f"POST  /healthz  HTTP/1.1\r\n{_LINE}"],
    "space at the end": [f"POST /healthz HTTP/1.1 \r\n{_LINE}"],
    "space before the method": [f" POST /healthz HTTP/1.1\r\n{_LINE}"],
    "empty lines before": [f"\r\n\r\nPOST /healthz HTTP/1.1\r\n{_LINE}"],
    "space in the target": [f"POST /healthz HTTP/1.1 HTTP/1.1\r\n{_LINE}"],
    "NUL in the target": [f"POST /healthz\0a HTTP/1.1\r\n{_LINE}"],
    "control character in the target": [f"POST /healthz\x1f HTTP/1.1\r\n{_LINE}"],
    "encoded line end in the target": [f"POST /healthz%0d%0aX-A:%20b HTTP/1.1\r\n{_LINE}"],
    "letter beyond ASCII in the target": [f"POST /healthz\xff HTTP/1.1\r\n{_LINE}"],
    "fragment": [f"POST /healthz#/publish HTTP/1.1\r\n{_LINE}"],
    "NUL in the method": [f"PO\0ST /healthz HTTP/1.1\r\n{_LINE}"],
    "method with a colon": [f"POST: /healthz HTTP/1.1\r\n{_LINE}"],
    "lower-case method": [f"post /healthz HTTP/1.1\r\n{_LINE}"],
    "unknown method": [f"BREW /healthz HTTP/1.1\r\n{_LINE}"],
    "no method": [f"/healthz HTTP/1.1\r\n{_LINE}"],
    "GET with a body": [f"GET /history HTTP/1.1\r\n{_LINE}"],
    "HEAD with a body": [f"HEAD /history HTTP/1.1\r\n{_LINE}"],
    "DELETE with a body": [f"DELETE /connections HTTP/1.1\r\n{_LINE}"],
    "TRACE": [f"TRACE /healthz HTTP/1.1\r\n{_LINE}"],
    "CONNECT": [f"CONNECT x:80 HTTP/1.1\r\n{_LINE}"],
    "absolute-form": [f"POST http://y/healthz HTTP/1.1\r\n{_LINE}"],
    "absolute-form of another scheme": [f"POST ftp://y/healthz HTTP/1.1\r\n{_LINE}"],
    "absolute-form without a host": [f"POST http:///healthz HTTP/1.1\r\n{_LINE}"],
    "authority-form": [f"POST x:80 HTTP/1.1\r\n{_LINE}"],
    "asterisk-form": [f"OPTIONS * HTTP/1.1\r\n{_LINE}"],
    "asterisk-form of POST": [f"POST * HTTP/1.1\r\n{_LINE}"],
    "no host": ["POST /healthz HTTP/1.1\r\nContent-Length: <L>\r\n\r\n<S>"],
    "two hosts": [f"POST /healthz HTTP/1.1\r\nHost: y\r\n{_LINE}"],
    "host with a space": ["POST /healthz HTTP/1.1\r\nHost: x y\r\nContent-Length: <L>\r\n\r\n<S>"],
    "host with an @": ["POST /healthz HTTP/1.1\r\nHost: y@x\r\nContent-Length: <L>\r\n\r\n<S>"],
    "empty host": ["POST /healthz HTTP/1.1\r\nHost:\r\nContent-Length: <L>\r\n\r\n<S>"],
    "HTTP/0.9": [f"POST /healthz HTTP/0.9\r\n{_LINE}"],
    "HTTP/1.0": [f"POST /healthz HTTP/1.0\r\nConnection: keep-alive\r\n{_LINE}"],
    "HTTP/1.0 with chunks": [
        "POST /healthz HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n<S>"
    ],
    "HTTP/1.2": [f"POST /healthz HTTP/1.2\r\n{_LINE}"],
    "HTTP/1.10": [f"POST /healthz HTTP/1.10\r\n{_LINE}"],
    "HTTP/1.1.1": [f"POST /healthz HTTP/1.1.1\r\n{_LINE}"],
    "HTTP/11": [f"POST /healthz HTTP/11\r\n{_LINE}"],
    "HTTP/2.0": [f"POST /healthz HTTP/2.0\r\n{_LINE}"],
    "HTTP/2's preface": [f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{_LINE}"],
    "http/1.1": [f"POST /healthz http/1.1\r\n{_LINE}"],
    "upgrade": [f"POST /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{_LINE}"],
    "upgrade to a WebSocket": [f"POST /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{_LINE}"],
    "length among the connection's fields": [f"POST /healthz HTTP/1.1\r\nConnection: content-length\r\n{_LINE}"],
    "expectation": [f"POST /healthz HTTP/1.1\r\nExpect: 100-continue\r\n{_LINE}"],
    "unknown expectation": [f"POST /healthz HTTP/1.1\r\nExpect: 100-continue, more\r\n{_LINE}"],
}

# nginx reads these in one way, ours in none; no length says where the first of the two requests ends.
STRICT: Final = {
    "length with a letter beyond ASCII in its name": _with_length("Content-Length\xad: <L>"),
    "coding behind a bare LF": [f"<C>X-A: b\nTransfer-Encoding: chunked\r\n\r\n{_NO_CHUNK}"],
    "last chunk with bare LFs": [f"<C>{_CODED}0\n\n<S>"],
    "trailer with a bare LF": [f"<C>{_CODED}0\r\nX-A: b\n\r\n<S>"],
    "trailer that ends with two LFs": [f"<C>{_CODED}0\r\nX-A: b\n\n<S>"],
    "trailer without a colon": [f"<C>{_CODED}0\r\nX-A\r\n\r\n<S>"],
    "folded trailer": [f"<C>{_CODED}0\r\nX-A: b\r\n c\r\n\r\n<S>"],
    "trailer with a space before the colon": [f"<C>{_CODED}0\r\nX-A : b\r\n\r\n<S>"],
    "trailer with a NUL": [f"<C>{_CODED}0\r\nX-A: \0\r\n\r\n<S>"],
}

# Bodies that are broken, and look whole again behind that.
BROKEN: Final = {
    name: [f"<C>{_CODED}{broken}\r\n0\r\n\r\n<S>"]
    for name, broken in {
        "no size": "",
        "no digit": "g",
        "minus": "-1",
        "0x": "0x1\r\nx",
        "space": " 1\r\nx",
        "too many digits": "1" + "0" * 40 + "\r\nx",
        "LF in an extension": "2;\nxx",
        "NUL in an extension": "2;\0\r\nxx",
        "long extension": f"1;{'a' * 20_000}\r\nx",
        "data longer than its size": "1\r\nxy",
        "data longer by a line": "1\r\nx\r\n\r\n",
        "a trailer that is none": "0\r\nno trailer",
        "many trailers": "0\r\n" + "X-A: b\r\n" * 1000,
    }.items()
}

# To these nginx answers without a head, as HTTP/0.9 has none.
OLD: Final = {
    "no version": f"POST /healthz\r\n{_LINE}",
    "no version, of GET": f"GET /healthz\r\n{_LINE}",
    "LF before the version": f"POST /healthz\n HTTP/1.1\r\n{_LINE}",
    "LF that ends the line": f"POST /healthz\nX: HTTP/1.1\r\n{_LINE}",
}


def carriers(bearer: str) -> list[str]:
    """The beginnings of `<C>`: of a request whose body is not read, and of one whose body is. `bearer`: who may
    publish."""
    fields = f"Host: x\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\n"
    return [f"POST {path} HTTP/1.1\r\n{fields}" for path in ("/healthz", "/publish")]


def filled(case: str, carrier: str, hidden: bytes) -> bytes:
    """The bytes of a case."""
    size = len(hidden)
    for word, value in {"<C>": carrier, "<L>": f"{size}", "<X>": f"{size:x}", "<X2>": f"{size + 2:x}"}.items():
        case = case.replace(word, value)
    return case.encode("latin-1").replace(b"<S>", hidden)
