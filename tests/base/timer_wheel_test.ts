import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { type Timed, TimerWheel } from "../../lib/base/timer_wheel.ts";

const TICK = 10;
/** The wheel has 256 slots. */
const TURN = 256 * TICK;

/** A wheel whose clock stands still until `to` moves it. */
class Fixture {
  time: number;
  readonly wheel: TimerWheel;
  readonly fired: string[] = [];

  constructor(start = 0) {
    this.time = start;
    this.wheel = new TimerWheel({ tickMs: TICK, clock: () => this.time });
  }

  /** Something that notes its name when it is due, and then does `then`. */
  timed(name: string, then: () => void = () => {}): Timed {
    const onDue = () => {
      this.fired.push(name);
      then();
    };
    return { due: 0, onDue };
  }

  /** Moves the clock in one step and gives what fired. */
  to(time: number): string[] {
    this.time = time;
    this.wheel.advance();
    return this.fired.splice(0);
  }

  /** Moves the clock tick by tick and gives what fired. */
  runTo(time: number): string[] {
    const fired: string[] = [];
    while (this.time < time) fired.push(...this.to(Math.min(time, this.time + TICK)));
    return fired;
  }
}

Deno.test("TimerWheel calls what is set within a tick after it is due, and never before", () => {
  for (const delay of [0, 1, TICK - 1, TICK, TICK + 1, 255, TURN - TICK, TURN - 1, TURN]) {
    const f = new Fixture(1003);
    f.wheel.set(f.timed("a"), delay);
    assertEquals(f.runTo(1003 + delay - 1), [], `${delay} ms: too early`);
    assertEquals(f.runTo(1003 + delay + TICK), ["a"], `${delay} ms: too late`);
  }
});

Deno.test("TimerWheel ticks every 100 ms unless it is told otherwise", () => {
  let time = 0;
  const wheel = new TimerWheel({ clock: () => time });
  const fired: number[] = [];
  for (const due of [50, 150]) wheel.set({ due: 0, onDue: () => fired.push(due) }, due);
  for (const [at, expected] of [[99, []], [100, [50]], [199, [50]], [200, [50, 150]]] as const) {
    time = at;
    wheel.advance();
    assertEquals(fired, [...expected], `at ${at} ms`);
  }
});

Deno.test("TimerWheel.set() notes when it is due", () => {
  const f = new Fixture(500);
  const timed = f.timed("a");
  f.time = 507;
  f.wheel.set(timed, 25);
  assertEquals(timed.due, 532);
});

Deno.test("TimerWheel calls what is set only once", () => {
  const f = new Fixture();
  f.wheel.set(f.timed("a"), 5);
  assertEquals(f.runTo(3 * TURN), ["a"]);
});

Deno.test("TimerWheel lets a delay of several turns wait for its turn", () => {
  const f = new Fixture();
  f.wheel.set(f.timed("far"), 3 * TURN + 5);
  f.wheel.set(f.timed("near"), 5);
  assertEquals(f.runTo(TURN), ["near"]);
  assertEquals(f.runTo(3 * TURN), []);
  assertEquals(f.runTo(3 * TURN + 2 * TICK), ["far"]);
});

Deno.test("TimerWheel calls in the order of ticks", () => {
  const f = new Fixture();
  for (const delay of [35, 5, 25, 15]) f.wheel.set(f.timed(`${delay}`), delay);
  assertEquals(f.to(100), ["5", "15", "25", "35"]);
});

Deno.test("TimerWheel calls everything that is due after a long sleep", () => {
  for (const sleep of [TURN - TICK, TURN, TURN + TICK, 10 * TURN + 3]) {
    const f = new Fixture(77);
    for (let delay = 0; delay < TURN; delay += TICK) f.wheel.set(f.timed(`${delay}`), delay);
    const late = f.timed("late");
    f.wheel.set(late, sleep + 2 * TICK);
    const fired = f.to(77 + sleep);
    const due = Array.from({ length: 256 }, (_, i) => i * TICK)
      .filter((delay) => delay + TICK <= sleep);
    assertEquals(due.filter((delay) => !fired.includes(`${delay}`)), [], `${sleep} ms`);
    assertEquals(fired.includes("late"), false);
    assertEquals(f.runTo(77 + sleep + 4 * TICK).includes("late"), true);
  }
});

Deno.test("TimerWheel.advance() does nothing within a tick but read the clock", () => {
  const f = new Fixture(100);
  f.wheel.set(f.timed("a"), 0);
  assertEquals(f.to(109), []);
  assertEquals(f.wheel.now, 109);
  assertEquals(f.to(110), ["a"]);
});

Deno.test("TimerWheel.now is the time of the last advance, not of the clock", () => {
  const f = new Fixture(100);
  f.time = 150;
  assertEquals(f.wheel.now, 100);
  f.wheel.advance();
  assertEquals(f.wheel.now, 150);
});

Deno.test("TimerWheel.set() counts from the clock even if no tick came for long", () => {
  const f = new Fixture();
  f.time = 5 * TURN;
  f.wheel.set(f.timed("a"), 50);
  assertEquals(f.to(5 * TURN + 49), []);
  assertEquals(f.to(5 * TURN + 60), ["a"]);
});

Deno.test("TimerWheel.clear() forgets what is set", () => {
  const f = new Fixture();
  const [a, b] = [f.timed("a"), f.timed("b")];
  f.wheel.set(a, 5);
  f.wheel.set(b, 5);
  f.wheel.clear(a);
  assertEquals(f.runTo(2 * TURN), ["b"]);
});

Deno.test("TimerWheel.clear() does nothing to what is not set", () => {
  const f = new Fixture();
  const a = f.timed("a");
  f.wheel.clear(a);
  f.wheel.set(a, 5);
  assertEquals(f.runTo(20), ["a"]);
  f.wheel.clear(a);
  f.wheel.set(a, 5);
  assertEquals(f.runTo(40), ["a"]);
});

Deno.test("TimerWheel calls again what sets itself when it is due", () => {
  for (const delay of [0, 1, TICK, 7 * TICK, TURN, TURN + 1]) {
    const f = new Fixture();
    const again = f.timed("a", () => f.wheel.set(again, delay));
    f.wheel.set(again, delay);
    const rounds = f.runTo(4 * (delay + TICK)).length;
    assertEquals(rounds >= 3 && rounds <= 4 + 4 * TICK, true, `${rounds} rounds of ${delay} ms`);
    assertEquals(f.to(f.time), [], "twice within a tick");
  }
});

Deno.test("TimerWheel lets one that is due clear and set others of its tick", () => {
  const f = new Fixture();
  const victim = f.timed("victim");
  const newcomer = f.timed("newcomer");
  const first = f.timed("first", () => {
    f.wheel.clear(victim);
    f.wheel.set(newcomer, TURN);
  });
  for (const timed of [first, victim]) f.wheel.set(timed, 5);
  f.wheel.set(f.timed("last"), 5);
  assertEquals(f.to(10), ["first", "last"]);
  assertEquals(f.runTo(10 + TURN + TICK), ["newcomer"]);
});

Deno.test("TimerWheel.start() ticks by itself until stop(), which leaves all set", async () => {
  const wheel = new TimerWheel({ tickMs: 1 });
  wheel.start();
  wheel.start();
  await new Promise<void>((onDue) => wheel.set({ due: 0, onDue }, 2));
  wheel.stop();
  wheel.stop();
  const fired: string[] = [];
  const before = wheel.now;
  wheel.set({ due: 0, onDue: () => fired.push("a") }, 0);
  await new Promise(setImmediate);
  assertEquals([wheel.now, fired], [before, []]);
});

Deno.test("TimerWheel is on time for whatever is set and cleared, however it is advanced", () => {
  const anySet = fc.record({
    at: fc.nat(3 * TURN),
    delay: fc.nat(3 * TURN),
    cleared: fc.option(fc.nat(6 * TURN), { nil: Infinity }),
  });
  const anyPace = fc.array(fc.integer({ min: 1, max: 4 * TICK }), { minLength: 1, maxLength: 5 });
  fc.assert(fc.property(fc.array(anySet), anyPace, (sets, pace) => {
    const f = new Fixture();
    const firedAt = new Map<string, number>();
    const all = sets.map((set, i) => ({
      ...set,
      timed: f.timed(`${i}`, () => firedAt.set(`${i}`, f.time)),
    }));
    for (let step = 0, last = -1; f.time <= 7 * TURN; step++) {
      for (const { at, delay, cleared, timed } of all) {
        if (at > last && at <= f.time) f.wheel.set(timed, delay);
        if (cleared > last && cleared <= f.time) f.wheel.clear(timed);
      }
      last = f.time;
      f.to(f.time + pace[step % pace.length]);
    }
    // The clock stands still for up to four ticks, and what is due waits for up to one more.
    const slack = 5 * TICK;
    all.forEach(({ at: set, cleared, timed: { due } }, i) => {
      const at = firedAt.get(`${i}`);
      if (at === undefined) return assertEquals(cleared <= due + slack, true, "never called");
      assertEquals(at >= due && at < due + slack, true, `due ${due}, called ${at}`);
      assertEquals(cleared > set + slack && cleared + slack < due, false, "called though cleared");
    });
  }));
});
