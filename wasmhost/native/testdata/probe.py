# A plugin that executes what it is told and says how that went.
import json
import sys


def do(data):
    if data["do"] == "echo":
        return data["text"]
    try:
        exec(data["text"], {"sys": sys})
    except BaseException as e:
        return "%s: %s" % (type(e).__name__, e)
    return "done"


def main():
    out = sys.stdout
    print('{"hello":{"abi":1,"type":"action","plugin":"probe","sdk":"test/1"}}', flush=True)
    for line in sys.stdin:
        m = json.loads(line)
        if "init" in m:
            print('{"ready":{}}', flush=True)
        elif "run" in m:
            answer = {"id": m["id"], "answer": {"data": do(m["run"]["event"]["data"])}}
            print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main()
