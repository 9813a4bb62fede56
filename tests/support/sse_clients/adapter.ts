/**
 * What the adapters of all clients for event streams have in common.
 *
 * @module
 */

/** An event as a client hands it to its user. */
export interface SseEvent {
  readonly type: string;
  readonly data: string;
  /** The position after it. Empty if the client does not say it. */
  readonly id: string;
}

/** The events that the adapters listen to. */
export const TYPES = ["message", "gap"];

/**
 * Opens a client on an address, as its documentation does it, and hands on all that it is told.
 *
 * @param headers Sent with each request, if the client can do that.
 * @returns Closes it.
 */
export type Adapter = (
  url: string,
  headers: Readonly<Record<string, string>>,
  tell: (event: SseEvent) => void,
) => () => void;

/** The least that clients with the interface of `EventSource` have in common. */
export interface SourceLike {
  addEventListener(
    type: string,
    listener: (event: { type: string; data: string; lastEventId: string }) => void,
  ): void;
  close(): void;
}

/** Hands on what a client with the interface of `EventSource` is told. */
export function listen(source: SourceLike, tell: (event: SseEvent) => void): () => void {
  for (const type of TYPES) {
    source.addEventListener(
      type,
      ({ type, data, lastEventId }) => tell({ type, data, id: lastEventId }),
    );
  }
  return () => source.close();
}
