"""Opens xDS streams as anybody might: with these tokens, certificates and node ids. Tells how each ended.

Standard input: a JSON list of attempts, which are made at the same time.

  name     what the answer is called
  kind     "delta", "sotw", or "unary" (a call that is no stream)
  type     type URL asked for; clusters if left out
  node     node id
  names    resource names asked for; all if left out
  token    bearer token, if any
  raw      bytes in the place of the request, base64
  padding  bytes of node metadata besides
  key, chain   files of a client certificate

Arguments: address, file with the roots of the server, its name. Standard output: {NAME: {"code", "error",
"names", "after"}}: how many resources came in the first response, or what the stream ended with, after how many
milliseconds.
"""

import base64
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

from wire import field, fields

CDS = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
METHODS = {
    "sotw": "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources",
    "delta": "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    "unary": "/envoy.service.cluster.v3.ClusterDiscoveryService/FetchClusters",
}
# Longer than a stream waits for its pod.
PATIENCE = 25


def request(attempt):
    if "raw" in attempt:
        return base64.b64decode(attempt["raw"])
    node = field(1, attempt["node"])
    if attempt.get("padding"):
        entry = field(1, "PADDING") + field(2, field(3, "x" * attempt["padding"]))
        node += field(3, field(1, entry))
    kind = attempt.get("type", CDS)
    names = attempt.get("names", [])
    if attempt["kind"] == "delta":
        asked = b"".join(field(3, name) for name in names or ["*"])
        return field(1, node) + field(2, kind) + asked
    return field(2, node) + b"".join(field(3, name) for name in names) + field(4, kind)


def requests(attempt, done):
    yield request(attempt)
    # A proxy does not end its side of a stream.
    done.wait(PATIENCE)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def attempt_one(address, roots, server, attempt):
    files = [read(attempt[part]) if part in attempt else None for part in ("key", "chain")]
    channel = grpc.secure_channel(
        address,
        grpc.ssl_channel_credentials(roots, *files),
        [
            ("grpc.ssl_target_name_override", server),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", -1),
        ],
    )
    headers = [("authorization", f"Bearer {attempt['token']}")] if "token" in attempt else None
    whole = {"request_serializer": lambda m: m, "response_deserializer": lambda m: m}
    method = METHODS[attempt["kind"]]
    done = threading.Event()
    try:
        if attempt["kind"] == "unary":
            answer = channel.unary_unary(method, **whole)(
                request(attempt), timeout=PATIENCE, metadata=headers
            )
        else:
            stream = channel.stream_stream(method, **whole)
            sent = requests(attempt, done)
            answer = next(stream(sent, timeout=PATIENCE, metadata=headers))
    except grpc.RpcError as error:
        return {"code": error.code().name, "error": error.details(), "names": 0}
    except StopIteration:
        return {"code": "OK", "error": "the stream ended without a response", "names": 0}
    finally:
        done.set()
        channel.close()
    return {"code": "OK", "error": "", "names": len(fields(answer).get(2, []))}


def timed(address, roots, server, attempt):
    start = time.monotonic()
    end = attempt_one(address, roots, server, attempt)
    return end | {"after": round((time.monotonic() - start) * 1000)}


def main():
    address, roots, server = sys.argv[1:]
    roots = read(roots)
    attempts = json.load(sys.stdin)
    with ThreadPoolExecutor(max(len(attempts), 1)) as pool:
        ends = pool.map(lambda one: timed(address, roots, server, one), attempts)
        print(json.dumps({one["name"]: end for one, end in zip(attempts, ends)}))


main()
