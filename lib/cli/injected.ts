/**
 * Recognises variables that orchestrators set for a service named `river` or `river-something`.
 * Their names look like those of river's options.
 *
 * @module
 */

/**
 * Kubernetes sets `RIVER_SERVICE_HOST`, `RIVER_SERVICE_PORT`, `RIVER_SERVICE_PORT_HTTP`,
 * `RIVER_PORT_9271_TCP_ADDR` and the like (Kubernetes documentation, "Service", environment
 * variables).
 */
const SERVICE = /^RIVER_(?:\w+_)?SERVICE_(?:HOST|PORT(?:_\w+)?)$/;
const SERVICE_PORT = /^RIVER_(?:\w+_)?PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?$/;
/** Kubernetes and Docker's links also set `RIVER_PORT=tcp://10.0.0.143:9271`. */
const ADDRESS = /^RIVER_(?:\w+_)?PORT$/;
/** Docker's links set `RIVER_NAME=/web/river` and `RIVER_ENV_X`. */
const LINK = /^RIVER_(?:\w+_)?(?:ENV_\w+|NAME)$/;

/** Whether an orchestrator, and not a user, sets a variable of this name to this value. */
export function isInjected(name: string, value: string): boolean {
  if (SERVICE.test(name) || SERVICE_PORT.test(name)) return true;
  if (ADDRESS.test(name)) return /^(?:tcp|udp|sctp):\/\//.test(value);
  return LINK.test(name) && (name.includes("_ENV_") || value.startsWith("/"));
}
