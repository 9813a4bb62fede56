/**
 * A real headless Chromium, with its web security left on.
 *
 * @module
 */
import chromiumBinary from "@sparticuz/chromium";
import { type Browser, chromium } from "playwright-core";

/**
 * What the package asks for, but for what would make the tests prove nothing (web security switched
 * off) or the browser fall over when a page is closed (all of it in one process).
 */
const LEFT_OUT =
  /^--(?:disable-web-security|single-process|no-zygote|in-process-gpu|disable-site-isolation-trials|allow-running-insecure-content)$/;

/** Starts a browser; it ends when it is disposed of. */
export async function startBrowser(): Promise<Browser & AsyncDisposable> {
  return await chromium.launch({
    executablePath: await chromiumBinary.executablePath(),
    headless: true,
    args: chromiumBinary.args.filter((arg) => !LEFT_OUT.test(arg)),
    env: { LANG: "en_US.UTF-8" },
  });
}
