// @ts-check
/**
 * The reference server of the Durable Streams protocol, with its streams in files. It waits for the
 * disk before it answers.
 *
 * @module
 */
import process from "node:process";
import { DurableStreamTestServer } from "@durable-streams/server";

// The first line of the output is the address.
console.info = console.log = () => {};
const server = new DurableStreamTestServer({
  port: 0,
  host: "127.0.0.1",
  dataDir: process.argv[2],
});
const url = await server.start();
process.stdout.write(`listening on ${url}/\n`);
