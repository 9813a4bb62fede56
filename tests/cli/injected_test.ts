import { assertEquals, assertMatch } from "@std/assert";
import { serve } from "../../lib/cli/commands/serve.ts";
import { DEFAULTS, errorOf, runOf } from "../support/options.ts";

/** As Kubernetes sets them for services named `river` and `river-web`, and Docker for its links. */
const INJECTED = {
  RIVER_SERVICE_HOST: "10.0.0.143",
  RIVER_SERVICE_PORT: "9271",
  RIVER_SERVICE_PORT_HTTP: "9271",
  RIVER_PORT: "tcp://10.0.0.143:9271",
  RIVER_PORT_9271_TCP: "tcp://10.0.0.143:9271",
  RIVER_PORT_9271_TCP_PROTO: "tcp",
  RIVER_PORT_9271_TCP_PORT: "9271",
  RIVER_PORT_9271_TCP_ADDR: "10.0.0.143",
  RIVER_WEB_SERVICE_HOST: "10.0.0.144",
  RIVER_WEB_PORT: "udp://10.0.0.144:53",
  RIVER_WEB_PORT_53_UDP: "udp://10.0.0.144:53",
  RIVER_NAME: "/web/river",
  RIVER_ENV_PATH: "/usr/bin",
};

Deno.test("readOptions() ignores what orchestrators set for a service named river, and tells it", () => {
  const { values, ignored } = runOf(serve, { env: INJECTED });
  assertEquals(values, DEFAULTS);
  assertEquals(ignored, Object.keys(INJECTED));
  const { values: own } = runOf(serve, { env: INJECTED, args: ["--port=80"] });
  assertEquals(own, { ...DEFAULTS, port: 80 });
});

for (const [name, value] of [["RIVER_WEB_PORT", "9271"], ["RIVER_NAME", "mine"]]) {
  Deno.test(`readOptions() takes ${name}=${value} for a mistake: no orchestrator sets it`, () => {
    assertMatch(errorOf({ env: { [name]: value } }), /^Unknown variable /);
  });
}
