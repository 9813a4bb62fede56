import { assertEquals, assertMatch } from "@std/assert";
import { isNear, nearest } from "../../lib/base/spelling.ts";
import { mayMean } from "../../lib/http/parameter_names.ts";
import { ask, errorCode, publish, subscribe } from "../support/http.ts";
import { sendRaw, UPGRADE } from "../support/raw.ts";
import { serveHere } from "../support/server.ts";
import { openSocket } from "../support/sockets.ts";

for (
  const [name, meant] of [
    ["limt", "limit"],
    ["limits", "limit"],
    ["Limit", "limit"],
    ["time-out", "timeout"],
    ["timeuot", "timeout"],
    ["formt", "format"],
    ["calback", "callback"],
    ["keeep", "keep"],
    ["SEQ", "seq"],
    ["Id", "id"],
    ["lastEvent", "last_event_id"],
    ["last_event_ids", "last_event_id"],
    ["tokn", "token"],
    ["prefx", "prefix"],
  ]
) {
  Deno.test(`isNear() takes ${name} for ${meant}`, () => {
    assertEquals(isNear(name, meant), true);
  });
}

/** What caches, libraries, trackers and other protocols put into addresses. */
const OTHERS = [
  ...[
    "_",
    "t",
    "v",
    "r",
    "cb",
    "ts",
    "rand",
    "nocache",
    "cachebuster",
    "timestamp",
    "time",
    "date",
  ],
  ...[
    "withCredentials",
    "EIO",
    "sid",
    "uid",
    "cid",
    "pid",
    "transport",
    "j",
    "b64",
    "json",
    "from",
  ],
  ...["utm_source", "fbclid", "gclid", "lang", "user", "version", "page", "list", "order", "type"],
  ...[
    "cursor",
    "event",
    "mode",
    "code",
    "key",
    "k",
    "a".repeat(1000),
    "é",
    "__proto__",
    "req",
    "sec",
  ],
];

Deno.test("isNear() takes nothing that clients send by themselves for a parameter of ours", () => {
  const optional = ["id", "keep", "seq", "last_event_id", "callback", "jsonp", "format", "limit"];
  for (const meant of [...optional, "timeout", "token", "prefix", "after"]) {
    assertEquals(OTHERS.filter((name) => isNear(name, meant)), [], meant);
  }
});

Deno.test("what clients send by themselves is let pass on every route", async () => {
  await using server = await serveHere();
  const others = OTHERS.map((name) => `${encodeURIComponent(name)}=1`).join("&");
  assertEquals((await ask(`${server.url}/publish?name=x&data=a&${others}`)).status, 200);
  assertEquals((await ask(`${server.url}/publish?_&name=x&data=a`)).status, 200);
  assertEquals((await ask(`${server.url}/channels?${others}`)).status, 200);
  await using _lines = await subscribe(server, `name=x&123456&${others}`);
  await using _socket = await openSocket(server, `name=x&${others}`);
});

const FORM = "application/x-www-form-urlencoded";

const MISTAKES: [what: string, type: string, body: string, code: string, cure: RegExp][] = [
  [
    "an ampersand that is not escaped",
    FORM,
    "name=e&data=fish&chips",
    "bad_form",
    /"chips".*%26.*--data-urlencode/,
  ],
  [
    "a piece of a value that holds a percent sign",
    FORM,
    "name=e&data=fish&50%",
    "bad_form",
    /"50%".*%26/,
  ],
  [
    "a long piece of a value that holds escapes",
    FORM,
    `name=e&data=fish&${"and%20chips".repeat(10)}`,
    "bad_form",
    /"and%20chips.*%26/,
  ],
  [
    "JSON with a percent sign sent as a form",
    FORM,
    '{"name": "e", "data": "50%"}',
    "bad_form",
    /--json/,
  ],
  [
    "JSON sent as a form",
    FORM,
    '{"name": "e", "data": "a"}',
    "bad_form",
    /JSON.*application\/json.*--json/,
  ],
  [
    "JSON with an equals sign sent as a form",
    FORM,
    '{ "name": "e", "data": "a=b"}',
    "bad_form",
    /--json/,
  ],
  ["a list of JSON sent as a form", FORM, '[{"name": "e"}]', "bad_form", /--json/],
  [
    "a channel for a name",
    FORM,
    "channel=e&data=a",
    "missing_parameter",
    /"name" is missing, but "channel" is given/,
  ],
  [
    "a message for data",
    "application/json",
    '{"name":"e","message":"a"}',
    "missing_parameter",
    /"data" is missing, but "message" is given/,
  ],
  [
    "a name in capitals",
    "application/json",
    '{"Name":"e","data":"a"}',
    "missing_parameter",
    /"name" is missing, but "Name" is given/,
  ],
  [
    "an id in capitals",
    "application/json",
    '{"name":"e","data":"a","ID":"1"}',
    "unknown_parameter",
    /"ID": did you mean "id"/,
  ],
  [
    "an id in capitals in a line",
    "application/x-ndjson",
    '{"name":"e","data":"a"}\n{"name":"e","data":"a","ID":"1"}',
    "unknown_parameter",
    /Line 2: .*"id"/,
  ],
];

for (const [what, type, body, code, cure] of MISTAKES) {
  Deno.test(`${what} is refused, with the cure`, async () => {
    await using server = await serveHere();
    const headers = { "content-type": type };
    const answer = await ask(`${server.url}/publish`, { method: "POST", headers, body });
    assertEquals([answer.status, errorCode(answer)], [400, code]);
    assertMatch(JSON.parse(answer.text).error.message, cure);
    assertEquals(server.engine.usage().published, 0);
  });
}

for (
  const [target, cure] of [
    ["publish?name=e&data=fish&chips", /"chips".*%26/],
    ["subscribe?name=e&limt=1", /Unknown parameter "limt": did you mean "limit"\?/],
    ["subscribe?name=e&Keep=0", /did you mean "keep"/],
    ["subscribe?name=e&tiemout=1", /did you mean "timeout"/],
    ["channels?prefx=a", /did you mean "prefix"/],
    ["websocket?name=e&Seq=1", /did you mean "seq"/],
  ] as const
) {
  Deno.test(`/${target} is refused, with the cure`, async () => {
    await using server = await serveHere();
    const upgrade = target.startsWith("websocket") ? UPGRADE : {};
    const answer = await sendRaw(server, `GET /${target} HTTP/1.1`, upgrade);
    assertEquals(answer.status, 400);
    assertMatch(JSON.parse(answer.text).error.message, cure);
  });
}

Deno.test("a name that is near a parameter is let pass where that parameter is given too", async () => {
  await using server = await serveHere();
  await publish(server, "x", "1");
  const answer = await ask(`${server.url}/subscribe?name=x&seq=0&limit=1&limits=7&Limit=9`);
  assertEquals(answer.status, 200);
});

for (
  const [line, code, cure] of [
    [["pub", { name: "a", data: "b" }], "missing_parameter", /"channel" is missing, but "name"/],
    [["pub", { channel: "a", msg: "b" }], "missing_parameter", /"data" is missing, but "msg"/],
    [["sub", { channel: "a", cursor: "e-1" }], "unknown_parameter", /"cursor": did you mean "seq"/],
    [["sub", { channel: "a", lastEventId: "e-1" }], "unknown_parameter", /did you mean "seq"/],
  ] as const
) {
  Deno.test(`the line ${JSON.stringify(line)} is refused, with the cure`, async () => {
    await using server = await serveHere();
    await using socket = await openSocket(server, "", "river.v1");
    socket.send(JSON.stringify(line));
    const [kind, error] = JSON.parse(await socket.line());
    assertEquals([kind, error.code], ["error", code]);
    assertMatch(error.message, cure);
  });
}

Deno.test("mayMean() knows what other servers call it", () => {
  for (const [name, meant] of [["topic", "name"], ["payload", "data"], ["offset", "seq"]]) {
    assertEquals(mayMean(name, meant), true);
  }
  assertEquals(mayMean("title", "name"), false);
});

const OPTIONS = ["port", "host", "history", "history-ttl", "max-body", "max-bodies", "open"];

for (
  const [name, meant] of [
    ["prot", "port"],
    ["PORT", "port"],
    ["maxBody", "max-body"],
    ["max_bodys", "max-body"],
    ["max-bodes", "max-bodies"],
    ["histroy", "history"],
    ["histori-ttl", "history-ttl"],
    ["opn", "open"],
    ["max-b", "max-body"],
    ["xyz", undefined],
    ["op", undefined],
    ["", undefined],
    ["-", undefined],
    ["p".repeat(65), undefined],
  ]
) {
  Deno.test(`nearest() takes "${name?.slice(0, 20)}" for ${meant}`, () => {
    assertEquals(nearest(name!, OPTIONS), meant);
  });
}
