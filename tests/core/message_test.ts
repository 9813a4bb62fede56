import { assert, assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { Gap } from "../../lib/core/gap.ts";
import {
  Batch,
  type Format,
  type Frame,
  line,
  type Message,
  utf8Length,
} from "../../lib/core/message.ts";
import { jsonp, raw, river, sse, sseOfMany } from "../../lib/http/transports/formats.ts";

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Any text that UTF-8 can carry, controls and line breaks more often than chance would have it. */
const anyText = fc.string({
  unit: fc.oneof(
    fc.constantFrom("\r", "\n", '"', "\\", ":", " ", "\0", "\u2028", "\ufeff"),
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
  ),
});

function messagesOf(data: string[], channel = "x"): Message[] {
  return data.map((data, i) => ({
    channel,
    epoch: "k3f9x2",
    seq: i + 1,
    data,
    bytes: new TextEncoder().encode(data).length,
    time: 0,
  }));
}

function batchOf(...data: string[]): Batch {
  return new Batch(messagesOf(data));
}

/** A frame as it goes over the wire in a format. */
function wire(frame: Frame, format: Format): string {
  return strictUtf8.decode(frame.bytes(format));
}

const GAP = new Gap("x", 41, 57, "k3f9x2", "evicted");
const GAP_FIELDS = '{"channel": "x", "from": 41, "to": 57, "epoch": "k3f9x2", "reason": "evicted"}';

Deno.test("line() spaces a river line as the first river did", () => {
  assertEquals(
    line("msg", { channel: "public-channel", seq: 1, data: "hello-world-of-comet" }),
    '["msg", {"channel": "public-channel", "seq": 1, "data": "hello-world-of-comet"}]',
  );
});

Deno.test("line() escapes what a publisher could break out of a string with", () => {
  assertEquals(
    line("error", { message: '"}]\n["msg"\\', n: -1.5 }),
    '["error", {"message": "\\"}]\\n[\\"msg\\"\\\\", "n": -1.5}]',
  );
});

const HOSTILE: { what: string; data: string; river: string; sse: string; raw: string }[] = [
  { what: "no data", data: "", river: '""', sse: "data: ", raw: "" },
  {
    what: "quotes and backslashes",
    data: '"}]\\',
    river: '"\\"}]\\\\"',
    sse: 'data: "}]\\',
    raw: '"}]\\',
  },
  {
    what: "CR, LF and CRLF",
    data: "a\rb\nc\r\nd",
    river: '"a\\rb\\nc\\r\\nd"',
    sse: "data: a\ndata: b\ndata: c\ndata: d",
    raw: "a b c d",
  },
  {
    what: "LF before CR",
    data: "a\n\rb",
    river: '"a\\n\\rb"',
    sse: "data: a\ndata: \ndata: b",
    raw: "a  b",
  },
  {
    what: "line breaks at both ends",
    data: "\na\r",
    river: '"\\na\\r"',
    sse: "data: \ndata: a\ndata: ",
    raw: " a ",
  },
  {
    what: "fields of an event stream",
    data: "a\nid:9\n\nevent: gap",
    river: '"a\\nid:9\\n\\nevent: gap"',
    sse: "data: a\ndata: id:9\ndata: \ndata: event: gap",
    raw: "a id:9  event: gap",
  },
  {
    what: "NUL and other controls",
    data: "\0\x01\x1b\x7f\t",
    river: '"\\u0000\\u0001\\u001b\x7f\\t"',
    sse: "data: \0\x01\x1b\x7f\t",
    raw: "\0\x01\x1b\x7f\t",
  },
  {
    what: "line separators of scripts only",
    data: "a\u2028b\u2029c\x85d\ve\ff",
    river: '"a\u2028b\u2029c\x85d\\u000be\\ff"',
    sse: "data: a\u2028b\u2029c\x85d\ve\ff",
    raw: "a\u2028b\u2029c\x85d\ve\ff",
  },
  {
    what: "a byte order mark",
    data: "\ufeff{}",
    river: '"\ufeff{}"',
    sse: "data: \ufeff{}",
    raw: "\ufeff{}",
  },
  { what: "a leading space", data: " a", river: '" a"', sse: "data:  a", raw: " a" },
  {
    what: "characters of two, three and four bytes",
    data: "é€😀",
    river: '"é€😀"',
    sse: "data: é€😀",
    raw: "é€😀",
  },
];

for (const { what, data, ...expected } of HOSTILE) {
  Deno.test(`Batch.bytes() carries ${what} in every format`, () => {
    const batch = batchOf(data);
    const riverLine = `["msg", {"channel": "x", "seq": 1, "data": ${expected.river}}]`;
    const escaped = riverLine.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029");
    assertEquals(wire(batch, river), `${riverLine}\n`);
    assertEquals(wire(batch, sse), `id: k3f9x2-1\n${expected.sse}\n\n`);
    assertEquals(wire(batch, raw), `${expected.raw}\n`);
    assertEquals(wire(batch, jsonp("cb")), `/**/cb(${escaped});\n`);
    assertEquals(JSON.parse(batch.text), ["msg", { channel: "x", seq: 1, data }]);
  });
}

Deno.test("Batch.bytes() puts one message after the other in every format", () => {
  const batch = batchOf("a", "b");
  const [first, second] = batch.lines;
  assertEquals(batch.lines, [
    '["msg", {"channel": "x", "seq": 1, "data": "a"}]',
    '["msg", {"channel": "x", "seq": 2, "data": "b"}]',
  ]);
  assertEquals(batch.text, `${first}\n${second}`);
  assertEquals(wire(batch, river), `${first}\n${second}\n`);
  assertEquals(wire(batch, sse), "id: k3f9x2-1\ndata: a\n\nid: k3f9x2-2\ndata: b\n\n");
  assertEquals(wire(batch, raw), "a\nb\n");
  assertEquals(wire(batch, jsonp("app.cb")), `/**/app.cb(${first});\n/**/app.cb(${second});\n`);
});

Deno.test("Batch.bytes() gives the same bytes for every call with a format", () => {
  const batch = batchOf("a");
  const callback = jsonp("cb");
  const formats = [sse, river, raw, callback];
  const first = formats.map((format) => batch.bytes(format));
  const second = formats.map((format) => batch.bytes(format));
  formats.forEach((_, i) => assert(first[i] === second[i]));
  assertEquals(new Set(first).size, formats.length);
});

Deno.test("Batch.bytes() encodes a format once, however many it is asked for", () => {
  let calls = 0;
  const counting = (name: string): Format => ({
    ...river,
    messages: () => `${name}${++calls}`,
  });
  const batch = batchOf("a");
  const [a, b, c] = ["a", "b", "c"].map(counting);
  for (const format of [a, b, c, b, a, c]) batch.bytes(format);
  assertEquals([a, b, c].map((format) => wire(batch, format)), ["a1", "b2", "c3"]);
});

Deno.test("Batch tells its channel, epoch, first and last seq", () => {
  const { channel, epoch, first, last } = batchOf("a", "b", "c").slice(1);
  assertEquals({ channel, epoch, first, last }, {
    channel: "x",
    epoch: "k3f9x2",
    first: 2,
    last: 3,
  });
  const one = batchOf("a");
  assertEquals([one.channel, one.epoch, one.first, one.last], ["x", "k3f9x2", 1, 1]);
});

Deno.test("Batch.slice() leaves the batch it was cut from alone", () => {
  const batch = batchOf("a", "b", "c");
  assertEquals(wire(batch, raw), "a\nb\nc\n");
  assertEquals(wire(batch.slice(0, 1), raw), "a\n");
  assertEquals(wire(batch.slice(1, 3), raw), "b\nc\n");
  assertEquals(wire(batch, raw), "a\nb\nc\n");
});

Deno.test("Batch escapes the channel's name as it escapes data", () => {
  const channel = '"}]\u2028__proto__';
  const batch = new Batch(messagesOf([""], channel));
  assertEquals(
    wire(batch, river),
    '["msg", {"channel": "\\"}]\u2028__proto__", "seq": 1, "data": ""}]\n',
  );
  assertEquals(
    wire(batch, jsonp("cb")),
    '/**/cb(["msg", {"channel": "\\"}]\\u2028__proto__", "seq": 1, "data": ""}]);\n',
  );
});

Deno.test("Batch.lines are single lines of JSON whatever the data", () => {
  fc.assert(fc.property(anyText, anyText, (channel, data) => {
    const batch = new Batch(messagesOf([data], channel));
    const [only] = batch.lines;
    assert(!/[\r\n]/.test(only));
    assertEquals(JSON.parse(only), ["msg", { channel, seq: 1, data }]);
  }));
});

Deno.test("jsonp() holds no line separator of old scripts whatever the data", () => {
  fc.assert(fc.property(anyText, (data) => {
    const text = wire(batchOf(data), jsonp("cb"));
    assert(!/[\u2028\u2029]/.test(text));
    const [, json] = /^\/\*\*\/cb\((.*)\);\n$/.exec(text)!;
    assertEquals(JSON.parse(json), ["msg", { channel: "x", seq: 1, data }]);
  }));
});

/** What a browser makes of an event stream: `[id, type, data]` an event. */
function eventsOf(stream: string): [string, string, string][] {
  const events: [string, string, string][] = [];
  let id = "";
  let type = "";
  let data = "";
  for (const row of stream.replace(/^\ufeff/, "").split(/\r\n|\r|\n/)) {
    const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(row)!;
    if (row === "" && data !== "") events.push([id, type || "message", data.slice(0, -1)]);
    if (row === "") type = data = "";
    else if (field === "data") data += value + "\n";
    else if (field === "event") type = value;
    else if (field === "id") id = value;
  }
  return events;
}

Deno.test("sse is one event a message for a browser, whatever the data", () => {
  fc.assert(fc.property(anyText, anyText, (a, b) => {
    const seen = (data: string) => data.replace(/\r\n?/g, "\n");
    assertEquals(eventsOf(wire(batchOf(a, b), sse)), [
      ["k3f9x2-1", "message", seen(a)],
      ["k3f9x2-2", "message", seen(b)],
    ]);
  }));
});

Deno.test("raw is one line a message, whatever the data", () => {
  fc.assert(fc.property(anyText, anyText, (a, b) => {
    const text = wire(batchOf(a, b), raw);
    assertEquals(text.split(/\r\n|\r|\n/).length, 3);
    assert(text.endsWith("\n"));
  }));
});

Deno.test("sseOfMany() gives each event a position of every channel, in the order asked for", () => {
  const format = sseOfMany(new Map([["b", "old-7"], ["a", "k3f9x2-0"]]));
  assertEquals(
    wire(new Batch(messagesOf(["one", "two"], "a")), format),
    "id: old-7,k3f9x2-1\ndata: one\n\nid: old-7,k3f9x2-2\ndata: two\n\n",
  );
  assertEquals(
    wire(new Batch(messagesOf(["three"], "b")), format),
    "id: k3f9x2-1,k3f9x2-2\ndata: three\n\n",
  );
  assertEquals(
    wire(new Gap("a", 3, 8, "new", "restart"), format),
    "event: gap\nid: k3f9x2-1,new-8\n" +
      'data: {"channel": "a", "from": 3, "to": 8, "epoch": "new", "reason": "restart"}\n\n',
  );
});

Deno.test("sseOfMany() keeps up to date the positions it was given", () => {
  const positions = new Map([["a", "k3f9x2-0"], ["b", "k3f9x2-0"]]);
  wire(new Batch(messagesOf(["one", "two"], "b")), sseOfMany(positions));
  assertEquals([...positions], [["a", "k3f9x2-0"], ["b", "k3f9x2-2"]]);
});

Deno.test("sseOfMany() leaves the item of a channel empty until it is opened, then tells the list", () => {
  const format = sseOfMany(new Map([["a", ""], ["b", ""], ["c", ""]]));
  assertEquals(format.open!("a", "k3f9x2-0"), "");
  const batch = new Batch(messagesOf(["one"], "a"));
  assertEquals(wire(batch, format), "id: k3f9x2-1,,\ndata: one\n\n");
  assertEquals(
    wire(new Gap("a", 3, 8, "new", "restart"), format),
    "event: gap\nid: new-8,,\n" +
      'data: {"channel": "a", "from": 3, "to": 8, "epoch": "new", "reason": "restart"}\n\n',
  );
  assertEquals(format.open!("b", "e-5"), "");
  assertEquals(format.open!("c", "e-6"), ":\nid: new-8,e-5,e-6\n\n");
});

Deno.test("an event stream tells its position when its channels are open, before any message", () => {
  assertEquals(sse.open!("a", "e-5"), ":\nid: e-5\n\n");
  const format = sseOfMany(new Map([["a", ""], ["b", "7"]]));
  assertEquals([format.open!("b", "e-7"), format.open!("a", "e-5")], ["", ":\nid: e-5,e-7\n\n"]);
  const batch = new Batch(messagesOf(["one"], "a"));
  assertEquals(wire(batch, format), "id: k3f9x2-1,e-7\ndata: one\n\n");
});

Deno.test("sseOfMany() of two subscribers do not share positions", () => {
  const batch = new Batch(messagesOf(["one"], "a"));
  const formats = ["p-1", "q-1"].map((other) => sseOfMany(new Map([["a", ""], ["b", other]])));
  assertEquals(formats.map((format) => wire(batch, format)), [
    "id: k3f9x2-1,p-1\ndata: one\n\n",
    "id: k3f9x2-1,q-1\ndata: one\n\n",
  ]);
});

Deno.test("Batch.parts() gives everybody the same parts, so that each is encoded once", () => {
  const batch = batchOf("a", "b", "c", "d", "e");
  const parts = batch.parts(2);
  assertEquals(parts.map(({ first, last }) => [first, last]), [[1, 2], [3, 4], [5, 5]]);
  assert(batch.parts(2).every((part, i) => part === parts[i]), "the same objects");
  assertEquals(batch.parts(3).map(({ first, last }) => [first, last]), [[1, 3], [4, 5]]);
  assert(batch.parts(5)[0] === batch && batch.parts(5).length === 1);
});

Deno.test("Gap is one line, the same text in every format that shows gaps", () => {
  assertEquals(GAP.lines, [GAP.text]);
  assertEquals(GAP.text, `["gap", ${GAP_FIELDS}]`);
  assertEquals(wire(GAP, river), `["gap", ${GAP_FIELDS}]\n`);
  assertEquals(wire(GAP, sse), `event: gap\nid: k3f9x2-57\ndata: ${GAP_FIELDS}\n\n`);
  assertEquals(wire(GAP, raw), "");
  assertEquals(wire(GAP, jsonp("cb")), `/**/cb(["gap", ${GAP_FIELDS}]);\n`);
});

Deno.test("Gap escapes the channel's name for scripts in JSONP only", () => {
  const gap = new Gap('"\u2029', 1, 0, "e", "restart");
  assert(wire(gap, river).includes('{"channel": "\\"\u2029", "from": 1,'));
  assert(wire(gap, jsonp("cb")).includes('{"channel": "\\"\\u2029", "from": 1,'));
});

Deno.test("Format names its content type and a heartbeat that is not a message", () => {
  const shown = [river, raw, sse, sseOfMany(new Map()), jsonp("cb")]
    .map(({ contentType, heartbeat }) => [contentType, heartbeat]);
  assertEquals(shown, [
    ["text/plain;charset=UTF-8", "\n"],
    ["text/plain;charset=UTF-8", "\n"],
    ["text/event-stream", ":\n\n"],
    ["text/event-stream", ":\n\n"],
    ["text/javascript;charset=UTF-8", "\n"],
  ]);
  assertEquals(eventsOf(sse.heartbeat), []);
});

Deno.test("utf8Length() counts what the encoder writes", () => {
  const edges = ["", "\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff"];
  for (const text of [...edges, "\u{10000}", "\u{10ffff}", "a😀é"]) {
    assertEquals(utf8Length(text), new TextEncoder().encode(text).length, JSON.stringify(text));
  }
  fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
    assertEquals(utf8Length(text), new TextEncoder().encode(text).length);
  }));
});

Deno.test("utf8Length() counts bytes, not code units", () => {
  assertNotEquals(utf8Length("é"), "é".length);
  assertEquals(["é", "€", "😀"].map(utf8Length), [2, 3, 4]);
});
