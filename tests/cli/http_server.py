"""A loopback web server for fetch_model.sh: http_server.py FOLDER PORT_FILE LOG

The first part of a path says how it behaves:
  ok       serves files of FOLDER, from any position
  norange  always from the beginning
  drop     breaks off after 300,000 bytes
  stuck    breaks off before the first byte
  short    serves only the first half, as if that were all
"""
import http.server
import os
import sys

folder, port_file, log = sys.argv[1:]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        way, _, path = self.path[1:].partition("/")
        asked = self.headers.get("Range")
        with open(log, "a") as f:
            f.write(f"{way} {os.path.basename(path)} {asked or 'all'}\n")
        try:
            with open(os.path.join(folder, os.path.basename(path)), "rb") as f:
                data = f.read()
        except OSError:
            self.send_error(404)
            return
        if way == "short":
            data = data[: len(data) // 2]
        first = int(asked[len("bytes=") :].split("-")[0]) if asked and way != "norange" else 0
        if first:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        data = data[first:]
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if way == "drop":
            data = data[:300000]
        if way == "stuck":
            data = b""
        try:
            self.wfile.write(data)
        except OSError:
            pass  # the other side had enough

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
with open(port_file + ".new", "w") as f:
    f.write(str(server.server_port))
os.rename(port_file + ".new", port_file)
server.serve_forever()
