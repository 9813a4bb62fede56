import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { clientAddress, RateLimit } from "../../lib/access/rate_limit.ts";

/** A limit whose clock is set by hand. */
function limitOf(perSecond: number, maxAddresses?: number) {
  const clock = { now: 1_000_000 };
  return { clock, limit: new RateLimit(perSecond, { now: () => clock.now, maxAddresses }) };
}

Deno.test("RateLimit lets pass a second's worth at once, then one after another", () => {
  const { clock, limit } = limitOf(10);
  for (let i = 0; i < 10; i++) {
    assertEquals(limit.wait("a"), 0, `the ${i}th`);
    limit.spend("a", 1);
  }
  assertEquals(limit.wait("a"), 100);
  clock.now += 99;
  assertEquals(limit.wait("a"), 1);
  clock.now += 1;
  assertEquals(limit.wait("a"), 0);
  limit.spend("a", 1);
  assertEquals(limit.wait("a"), 100);
});

Deno.test("RateLimit holds each address to its own account", () => {
  const { limit } = limitOf(1);
  limit.spend("a", 1);
  assertEquals([limit.wait("a"), limit.wait("b")], [1000, 0]);
});

Deno.test("RateLimit lets more at once be paid for by waiting longer", () => {
  const { clock, limit } = limitOf(10);
  limit.spend("a", 100);
  assertEquals(limit.wait("a"), 9100);
  clock.now += 9100;
  assertEquals(limit.wait("a"), 0);
});

Deno.test("RateLimit lets nobody save up: after any pause no more than a second's worth passes at once", () => {
  const { clock, limit } = limitOf(10);
  limit.spend("a", 1);
  clock.now += 60_000;
  let passed = 0;
  for (; limit.wait("a") === 0 && passed < 100; passed++) limit.spend("a", 1);
  assertEquals(passed, 10);
});

Deno.test("RateLimit beyond its room forgets the client that was idle longest, not the one that came first", () => {
  const { limit } = limitOf(1, 3);
  for (const address of ["a", "b", "c", "a", "d"]) limit.spend(address, 10);
  const held = ["a", "b", "c", "d"].filter((address) => limit.wait(address) > 0);
  assertEquals(held, ["a", "c", "d"]);
});

Deno.test("RateLimit of 0 lets everything pass and remembers nobody", () => {
  const { limit } = limitOf(0);
  limit.spend("a", 1e9);
  assertEquals([limit.enabled, limit.wait("a"), limit.size], [false, 0, 0]);
});

Deno.test("RateLimit forgets clients that have paid, and beyond its room the one that was idle longest", () => {
  const { clock, limit } = limitOf(1, 3);
  for (const address of ["a", "b", "c", "d"]) limit.spend(address, 10);
  assertEquals([limit.size, limit.wait("a"), limit.wait("d")], [3, 0, 10_000]);
  clock.now += 10_000;
  limit.spend("e", 1);
  assertEquals(limit.size, 1);
});

Deno.test("RateLimit never lets pass more than its rate and one burst", () => {
  fc.assert(fc.property(
    fc.integer({ min: 1, max: 50 }),
    fc.array(fc.nat(300), { maxLength: 200 }),
    (perSecond, pauses) => {
      const { clock, limit } = limitOf(perSecond);
      const started = clock.now;
      let passed = 0;
      for (const pause of pauses) {
        clock.now += pause;
        if (limit.wait("a") > 0) continue;
        limit.spend("a", 1);
        passed++;
      }
      const most = perSecond * ((clock.now - started) / 1000 + 1);
      assert(passed <= most + 1e-6, `${passed} passed, ${most} are allowed`);
    },
  ));
});

for (
  const [peer, forwarded, address] of [
    ["192.0.2.7", null, "192.0.2.7"],
    ["127.0.0.1", "192.0.2.7", "192.0.2.7"],
    ["127.0.0.1", "192.0.2.1, 192.0.2.7", "192.0.2.7"],
    ["127.0.0.1", "made up, 192.0.2.7 ", "192.0.2.7"],
    ["127.0.0.1", "192.0.2.7:4711", "192.0.2.7"],
    ["127.0.0.1", "[2001:db8:1:2::9]:4711", "2001:db8:1:2::/64"],
    ["127.0.0.1", "[2001:db8:1:2::9]", "2001:db8:1:2::/64"],
    ["127.0.0.1", "", "127.0.0.1"],
    ["127.0.0.1", "192.0.2.7,", "127.0.0.1"],
    ["::ffff:192.0.2.7", null, "192.0.2.7"],
    ["2001:db8:1:2:3:4:5:6", null, "2001:db8:1:2::/64"],
    ["2001:DB8:1:2::9", null, "2001:db8:1:2::/64"],
    ["2001:0db8:0001:0002::9", null, "2001:db8:1:2::/64"],
    ["2001:db8::9", null, "2001:db8:0:0::/64"],
    ["::1", null, "0:0:0:0::/64"],
    ["::4:5:6:7:8", null, "0:0:0:4::/64"],
    ["2001:db8::4:5:6:7:8", null, "2001:db8:0:4::/64"],
    ["fe80::1%eth0", null, "fe80:0:0:0::/64"],
  ] as const
) {
  Deno.test(`clientAddress(${peer}, ${forwarded}) is ${address}`, () => {
    assertEquals(clientAddress(peer, forwarded), address);
  });
}
