"""A proxyless gRPC client: asks the service of an xds:/// target, once per line of standard input.

Started with the target; GRPC_XDS_BOOTSTRAP_CONFIG says where the xDS server is. Answers each line with
{"app": NAME} or {"error": TEXT}.
"""

import json
import sys

import grpc


def main():
    channel = grpc.insecure_channel(sys.argv[1])
    who = channel.unary_unary(
        "/test.Echo/Who",
        request_serializer=lambda request: request,
        response_deserializer=json.loads,
    )
    for _ in sys.stdin:
        try:
            answer = {"app": who(b"", timeout=5)["app"]}
        except grpc.RpcError as error:
            answer = {"error": f"{error.code().name}: {error.details()}"}
        print(json.dumps(answer), flush=True)


main()
