"""Asks for debug data over xDS as istioctl does: one state-of-the-world stream, one request, one response.

Arguments: address, type, resource names. ISTIOCTL_TOKEN is sent along if set; ISTIOCTL_CA is the file with the roots of
a TLS server, ISTIOCTL_NAME its name. Prints what came as JSON, or {"error": TEXT, "code": NAME}.
"""

import json
import os
import sys
import time

import grpc

from wire import field, fields

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"
STATUS = ["UNKNOWN", "SYNCED", "NOT_SENT", "STALE", "ERROR"]


def one(message, *path):
    """The first value at the end of a path of fields; empty if there is none."""
    for tag in path:
        message = fields(message).get(tag, [b""])[0]
    return message


def text(message, *path):
    return one(message, *path).decode()


def struct(message):
    entries = [fields(entry) for entry in fields(message).get(1, [])]
    return {entry[1][0].decode(): text(entry[2][0], 3) for entry in entries}


def client_config(value):
    def config(raw):
        known = fields(raw)
        return {
            "type_url": text(raw, 1),
            "status": STATUS[known.get(6, [0])[0]],
            "updated": 5 in known,
            "error": text(raw, 8, 3),
        }

    return {
        "id": text(value, 1, 1),
        "metadata": struct(one(value, 1, 3)),
        "configs": [config(raw) for raw in fields(value).get(3, [])],
    }


def dump(kind, value):
    """Names in a config dump: of the resources themselves, as istioctl's diff needs them."""
    tag, path = {
        "ClustersConfigDump": (3, (2, 2)),
        "ListenersConfigDump": (3, (2, 2, 2)),
        "RoutesConfigDump": (3, (2, 2)),
    }[kind]
    return [text(one(entry, *path), 1) for entry in fields(value).get(tag, [])]


def resource(raw):
    kind, value = text(raw, 1), one(raw, 2)
    short = kind.rsplit(".", 1)[-1]
    if short == "ClientConfig":
        return {"type": kind, "client": client_config(value)}
    if short.endswith("ConfigDump"):
        return {"type": kind, "names": dump(short, value)}
    return {"type": kind, "text": value.decode()}


def main():
    address, kind, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    token, roots = os.environ.get("ISTIOCTL_TOKEN"), os.environ.get("ISTIOCTL_CA")
    if roots:
        name = os.environ.get("ISTIOCTL_NAME", "")
        with open(roots, "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(
            address, credentials, [("grpc.ssl_target_name_override", name)]
        )
    else:
        channel = grpc.insecure_channel(address)
    metadata = field(1, field(1, "GENERATOR") + field(2, field(3, "event")))
    node = field(1, "debug~0.0.0.0~istioctl~cluster.local") + field(3, metadata)
    request = field(2, node) + b"".join(field(3, name) for name in names)
    # istioctl's first request has a time for a nonce.
    request += field(4, kind) + field(5, time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC"))
    stream = channel.stream_stream(
        METHOD,
        request_serializer=lambda message: message,
        response_deserializer=lambda message: message,
    )
    headers = [("authorization", f"Bearer {token}")] if token else None
    try:
        response = next(stream(iter([request]), timeout=30, metadata=headers))
    except grpc.RpcError as error:
        print(json.dumps({"error": error.details(), "code": error.code().name}))
        return
    except StopIteration:
        print(json.dumps({"error": "the stream ended without a response", "code": "OK"}))
        return
    print(
        json.dumps(
            {
                "type_url": text(response, 4),
                "nonce": text(response, 5),
                "identifier": text(response, 6, 1),
                "resources": [resource(raw) for raw in fields(response).get(2, [])],
            }
        )
    )


main()
