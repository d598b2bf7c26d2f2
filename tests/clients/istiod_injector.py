"""A stand-in for istiod's injection webhook: gives every pod it is asked about a container `istio-proxy`.

usage: istiod_injector.py PORT CERT KEY
"""

import base64
import http.server
import json
import ssl
import sys

PROXY = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.28.0", "restartPolicy": "Always"}


class Injector(http.server.BaseHTTPRequestHandler):
    """Answers reviews."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        """Adds the sidecar, native as istiod's is, and says by whom."""
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))["request"]
        spec = request["object"]["spec"]
        patch = [{"op": "add", "path": "/spec/initContainers/0", "value": PROXY}]
        if not spec.get("initContainers"):
            patch = [{"op": "add", "path": "/spec/initContainers", "value": [PROXY]}]
        answer = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": {
                "uid": request["uid"],
                "allowed": True,
                "patchType": "JSONPatch",
                "patch": base64.b64encode(json.dumps(patch).encode()).decode(),
            },
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main():
    """Serves until killed."""
    port, cert, key = sys.argv[1:]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Injector)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


main()
