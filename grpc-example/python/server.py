"""The gRPC server behind a sidecar: server.py SOCKET, or HOST:PORT where there are no Unix sockets"""

import signal
import sys
from concurrent import futures

import grpc
import greeter_pb2 as messages
import greeter_pb2_grpc as services


def voice(call, context):
    """Who is greeted: the client as the sidecar tells it."""
    client = dict(context.invocation_metadata()).get("x-client-subject", "unknown")
    print(f"{call} for {client}", flush=True)
    return lambda name: messages.Greeting(text=f"Hello, {name}!", client=client, server="Python")


class Greeter(services.GreeterServicer):
    def Greet(self, request, context):
        return voice("Greet", context)(request.name)

    def GreetEach(self, request, context):
        yield from map(voice("GreetEach", context), request.name.split())

    def GreetAll(self, request_iterator, context):
        greet = voice("GreetAll", context)
        return greet(" and ".join(message.name for message in request_iterator))

    def Converse(self, request_iterator, context):
        greet = voice("Converse", context)
        for message in request_iterator:
            yield greet(message.name)


def main():
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    services.add_GreeterServicer_to_server(Greeter(), server)
    address = sys.argv[1]
    server.add_insecure_port(f"unix:{address}" if address.startswith("/") else address)
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(1))
    server.wait_for_termination()


main()
