"""A server that --start starts: one token for every request.

    started_server.py PORT1 PORT2    in a folder of its own; listens on PORT1, and when it is run there again on PORT2

A file `overlap` tells that the one before it was still alive then.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = 'data: {"choices": [{"index": 0, "text": "a", "finish_reason": "length"}]}\n\ndata: [DONE]\n\n'


class Handler(BaseHTTPRequestHandler):
    def reply(self, kind, text):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_GET(self):
        self.reply("application/json", '{"data": [{"id": "ring"}]}')

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.reply("text/event-stream", TOKEN)

    def log_message(self, *_):
        pass


port = sys.argv[1]
if os.path.exists("pid"):
    port = sys.argv[2]
    with open("pid") as file:
        if os.path.exists("/proc/" + file.read()):
            open("overlap", "w").close()
with open("pid", "w") as file:
    file.write(str(os.getpid()))
ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
