/**
 * All workloads.
 *
 * @module
 */
import { catchup } from "./catchup.ts";
import { channels } from "./channels.ts";
import { durable } from "./durable.ts";
import { idle } from "./idle.ts";
import { latency } from "./latency.ts";
import type { Workload } from "./lib/workload.ts";
import { publish } from "./publish.ts";
import { streaming } from "./streaming.ts";
import { websocket } from "./websocket.ts";

/** In the order in which they are listed and compared. */
export const workloads: readonly Workload[] = [
  streaming,
  websocket,
  catchup,
  latency,
  idle,
  publish,
  channels,
  durable,
];
