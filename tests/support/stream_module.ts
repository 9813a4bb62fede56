/** Where Debian puts nginx's stream module; tests/tools/setup.ts installs it. */
export const STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so";
