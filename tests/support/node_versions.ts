/** The versions of Node in which client.js is tested; tests/tools/setup.ts fetches them. */
export const NODE_VERSIONS = [20, 22, 24];
