"""The Kafka wire protocol: messages, declared once, and a codec that is made of the declarations.

- `declaration`: how a message is declared, and what a declared one is.
- `messages`: every message that clients of Kafka 4.3 send, and its answer; `messages.api(key)` finds both.
- `framing`: frames with their headers, which is what a listener or a client calls.
- `codec`: the message alone, `decode` and `encode`; `decoding` and `encoding` write the functions behind them.

A request or response is a plain object with typed fields, whatever its version::

    start = request_start(frame)                                  # key, version, correlation id
    client_id, request = decode_request(ProduceRequest, start.api_version, frame)
    response = ProduceResponse(responses=[])
    buffers = encode_response(response, start.api_version, start.correlation_id)

**To add an API**, or a version of one: declare its two messages in the family of `messages` where they belong, from the
protocol's definition of them, and name them in `messages._FOUND_AT`. There is nothing else: the codec, the round trips
against other codecs, and the tests with damaged bytes follow from the declaration. **A field** of a new version is
`since(version, default=...)`, with the default that Kafka gives it: that is what older versions decode to.

It does no I/O, and serves no client: what is done with a message, and which versions are advertised, is the listener's.
"""
