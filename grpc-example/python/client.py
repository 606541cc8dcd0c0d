"""Makes all four kinds of gRPC call through a sidecar: client.py SOCKET, or HOST:PORT where there are no Unix sockets"""

import queue
import sys

import grpc
import greeter_pb2 as messages
import greeter_pb2_grpc as services

TURNS = 100


def expect(kind, greeting, text):
    if greeting.text != text:
        raise SystemExit(f"{kind}: {greeting.text!r} instead of {text!r}")
    print(f"{kind}: {greeting.text} (to {greeting.client}, by a server in {greeting.server})")


def converse(stub):
    """Each message is sent when the answer to the one before is there: nothing on the way may hold it back."""
    outgoing = queue.Queue()
    answers = stub.Converse(iter(outgoing.get, None))
    for turn in range(TURNS):
        outgoing.put(messages.Name(name=str(turn)))
        greeting = next(answers)
        if greeting.text != f"Hello, {turn}!":
            raise SystemExit(f"two-way stream: {greeting.text!r} at turn {turn}")
    outgoing.put(None)
    if list(answers):
        raise SystemExit("the conversation goes on")
    expect("two-way stream", greeting, f"Hello, {TURNS - 1}!")


def main():
    # The authority would be the socket's path else, which is no host for nginx.
    options = [("grpc.default_authority", "localhost")]
    address = sys.argv[1]
    address = f"unix:{address}" if address.startswith("/") else address
    with grpc.insecure_channel(address, options=options) as channel:
        stub = services.GreeterStub(channel)
        expect("unary", stub.Greet(messages.Name(name="Ada"), timeout=30), "Hello, Ada!")
        names = ["Ada", "Grace", "Radia"]
        greetings = list(stub.GreetEach(messages.Name(name=" ".join(names)), timeout=30))
        assert len(greetings) == len(names), greetings
        for greeting, name in zip(greetings, names):
            expect("server stream", greeting, f"Hello, {name}!")
        greeting = stub.GreetAll((messages.Name(name=name) for name in names), timeout=30)
        expect("client stream", greeting, "Hello, Ada and Grace and Radia!")
        converse(stub)


try:
    main()
except grpc.RpcError as error:
    raise SystemExit(f"{error.code().name}: {error.details()}") from None
