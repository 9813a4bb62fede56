// @ts-check
/// <reference lib="dom" />
/*
 * The client for pages without modules. It keeps the names of the first river:
 *
 *   <script src="http://river.example.com/lib.js?domain=example.com"></script>
 *   <script>
 *     Comet.init(function () {
 *       var c = new Comet.Client();
 *       c.connect("public-channel", function (msg) { alert(msg.data); });
 *     });
 *   </script>
 *
 * `domain` has no effect any more: pages of other origins connect directly if --origin allows them.
 * A `token=` in the address is sent with every request. client.js does all the work.
 */
(() => {
  const script = /** @type {HTMLScriptElement} */ (document.currentScript);
  const address = new URL(script.src);
  const token = address.searchParams.get("token") ?? undefined;
  /** One connection for all clients of the page. */
  const river = load().then(({ River }) => new River(new URL(".", address), { token }));

  /** Loads the client. Tries until it succeeds: the network may be down for a moment. */
  async function load() {
    for (let tries = 0;; tries++) {
      try {
        // A browser does not load a module again from an address that failed.
        return await import(new URL(`client.js${tries > 0 ? `?${tries}` : ""}`, address).href);
      } catch (error) {
        console.error(error);
        await new Promise((resolve) => setTimeout(resolve, 1000 + 4000 * Math.random()));
      }
    }
  }

  /** Subscribes to one channel at a time, as in the first river. */
  class Client {
    /** @type {string | undefined} */ #channel;
    /** @type {Promise<{ close(): void }> | undefined} */ #subscription;

    /**
     * Subscribes to a channel, and leaves the previous one.
     *
     * @param {string} channel
     * @param {(message: { channel: string, seq: number, data: string }) => void} onMessage
     * @param {string | number} [seq] Starts after this position.
     */
    connect(channel, onMessage, seq) {
      this.disconnect();
      this.#channel = channel;
      this.#subscription = river.then((river) => river.subscribe(channel, onMessage, { seq }));
    }

    /**
     * Publishes to the channel. Refuses an object, which would become "[object Object]".
     *
     * @param {string | number | boolean} data
     * @returns {Promise<object>} The receipt.
     */
    async send(data) {
      if (this.#channel === undefined) throw new Error("Cannot send: call connect() first");
      const text = typeof data === "object" ? data : String(data);
      return (await river).publish(this.#channel, text);
    }

    /** Leaves the channel. */
    disconnect() {
      this.#subscription?.then((subscription) => subscription.close());
      this.#subscription = this.#channel = undefined;
    }
  }

  Object.assign(globalThis, {
    Comet: {
      Client,
      /** @param {() => void} ready Called once clients can be made. */
      init(ready) {
        river.then(() => ready());
      },
    },
  });
})();
