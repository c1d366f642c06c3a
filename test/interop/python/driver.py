# A Python client driven by lines of JSON: {id, verb, ...} in, {id, result} or {id, error} out; each request has a thread
# of its own. What the verbs mean is said in foreign-client.ts.

import base64
import json
import os
import sys
import threading

WAIT_S = 25


def text(value):
    return None if value is None else base64.b64encode(value).decode()


def raw(value):
    return None if value is None else base64.b64decode(value)


def serve(verbs):
    lock = threading.Lock()

    def run(request):
        number = request.pop("id")
        verb = request.pop("verb")
        try:
            answer = {"id": number, "result": verbs[verb](**request)}
        except BaseException as error:  # whatever it is, whoever asked must hear of it
            answer = {"id": number, "error": f"{type(error).__name__}: {error}"}
        line = json.dumps(answer)
        with lock:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    for line in sys.stdin:
        threading.Thread(target=run, args=(json.loads(line),), daemon=True).start()
    os._exit(0)
