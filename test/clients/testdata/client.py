"""A client of Eclipse Paho for Python that does what lines of JSON on stdin say (see process_test.go)."""

import base64
import json
import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

PATIENCE = 20
out_lock = threading.Lock()


def say(**line):
    with out_lock:
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def to_properties(kind, given):
    props = Properties(kind)
    for key, name in (("content_type", "ContentType"), ("response_topic", "ResponseTopic"),
                      ("payload_format", "PayloadFormatIndicator"), ("expiry", "MessageExpiryInterval")):
        if key in given:
            setattr(props, name, given[key])
    if "correlation_data" in given:
        props.CorrelationData = base64.b64decode(given["correlation_data"])
    if "user" in given:
        props.UserProperty = [tuple(pair) for pair in given["user"]]
    return props


def from_properties(props):
    found = {}
    for key, name in (("content_type", "ContentType"), ("response_topic", "ResponseTopic"),
                      ("payload_format", "PayloadFormatIndicator"), ("expiry", "MessageExpiryInterval")):
        if hasattr(props, name):
            found[key] = getattr(props, name)
    if hasattr(props, "CorrelationData"):
        found["correlation_data"] = base64.b64encode(props.CorrelationData).decode()
    if hasattr(props, "UserProperty"):
        found["user"] = [list(pair) for pair in props.UserProperty]
    if hasattr(props, "SubscriptionIdentifier"):
        found["subscription_id"] = props.SubscriptionIdentifier[0]
    return found


class Client:
    def __init__(self):
        self.paho = None
        self.v5 = False
        self.answer = None
        self.answered = threading.Event()

    def got(self, value):
        self.answer = value
        self.answered.set()

    def wait(self, what):
        if not self.answered.wait(PATIENCE):
            raise TimeoutError("no answer to " + what)
        self.answered.clear()
        return self.answer

    def connect(self, request):
        options, version = request["options"], request["version"]
        self.v5 = version == 5
        arguments = dict(client_id=options["id"], protocol=version, transport=request["transport"])
        if not self.v5:
            arguments["clean_session"] = options["clean"]
        if hasattr(mqtt, "CallbackAPIVersion"):  # paho 2
            arguments["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
        self.paho = mqtt.Client(**arguments)
        if request["transport"] == "websockets":
            self.paho.ws_set_options(path="/mqtt")
        self.paho.on_message = self.on_message
        self.paho.on_connect = lambda c, u, flags, rc, props=None: self.got((int(getattr(rc, "value", rc)), flags))
        self.paho.on_subscribe = lambda c, u, mid, codes, props=None: self.got([int(getattr(x, "value", x)) for x in codes])
        self.paho.on_unsubscribe = lambda *a: self.got(None)
        will = options.get("will")
        if will:
            props = None
            if self.v5:
                props = Properties(PacketTypes.WILLMESSAGE)
                props.WillDelayInterval = options.get("will_delay", 0)
            self.paho.will_set(will["topic"], base64.b64decode(will["payload"]), will["qos"], will["retain"], props)
        more = {}
        if self.v5:
            props = Properties(PacketTypes.CONNECT)
            props.SessionExpiryInterval = options["expiry"]
            more = dict(clean_start=options["clean"], properties=props)
        self.paho.connect(request["host"], request["port"], 60, **more)
        self.paho.loop_start()
        code, flags = self.wait("CONNECT")
        if code != 0:
            raise ConnectionError("CONNACK %d" % code)
        return {"present": bool(flags["session present"])}

    def on_message(self, _client, _user, m):
        found = {"topic": m.topic, "payload": base64.b64encode(m.payload).decode(), "qos": m.qos, "retain": bool(m.retain)}
        if self.v5:
            found["properties"] = from_properties(m.properties)
        say(message=found)

    def subscribe(self, request):
        wanted = request["subscribe"]
        if self.v5:
            props = None
            if "subscription_id" in wanted:
                props = Properties(PacketTypes.SUBSCRIBE)
                props.SubscriptionIdentifier = wanted["subscription_id"]
            self.paho.subscribe(wanted["filter"], options=mqtt.SubscribeOptions(qos=wanted["qos"]), properties=props)
        else:
            self.paho.subscribe(wanted["filter"], wanted["qos"])
        codes = self.wait("SUBSCRIBE")
        if codes != [wanted["qos"]]:
            raise ValueError("SUBACK %s" % codes)

    def unsubscribe(self, request):
        self.paho.unsubscribe(request["filter"])
        self.wait("UNSUBSCRIBE")

    def publish(self, request):
        m = request["message"]
        props = to_properties(PacketTypes.PUBLISH, m["properties"]) if "properties" in m else None
        info = self.paho.publish(m["topic"], base64.b64decode(m["payload"] or ""), m["qos"], m["retain"], props)
        info.wait_for_publish(PATIENCE)
        if not info.is_published():
            raise TimeoutError("no answer to PUBLISH")

    def disconnect(self, _request):
        self.paho.disconnect()
        self.paho.loop_stop()


client = Client()
for line in sys.stdin:
    request = json.loads(line)
    try:
        found = getattr(client, request["do"])(request) or {}
        say(done=request["do"], **found)
    except Exception as err:  # the test is told
        say(done=request["do"], error=repr(err))
