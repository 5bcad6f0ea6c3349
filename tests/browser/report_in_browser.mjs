// Opens report pages in the system's Chromium over the DevTools pipe and checks what only a browser
// knows: every chart is drawn with marks, nothing is written to the console as an error, nothing leaves
// the page, nothing overflows at 1280 and 400 px, in light and in dark. Takes screenshots.
//
//   node tests/browser/report_in_browser.mjs --shots DIR PAGE.html...
//
// Exit 0: all checks hold; 1: one does not; 77: skipped, there is no Chromium (CHROMIUM names one).
import {spawn, spawnSync} from "node:child_process";
import {mkdtempSync, mkdirSync, rmSync, writeFileSync} from "node:fs";
import {tmpdir} from "node:os";
import {basename, join, resolve} from "node:path";
import {pathToFileURL} from "node:url";

const sliceHeight = 1400;

function findChromium() {
  const names = [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"].filter(Boolean);
  return names.find((name) => spawnSync(name, ["--version"], {stdio: "ignore"}).status === 0);
}

/** A browser spoken to over file descriptors 3 and 4, messages ended by a zero byte. */
class Browser {
  constructor(program) {
    this.profile = mkdtempSync(join(tmpdir(), "report-browser-"));
    this.process = spawn(program, [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
      "--hide-scrollbars", "--force-color-profile=srgb", `--user-data-dir=${this.profile}`,
      "--remote-debugging-pipe", "about:blank",
    ], {stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"]});
    this.waiting = new Map();
    this.listeners = new Set();
    this.lastId = 0;
    let text = "";
    this.process.stdio[4].on("data", (data) => {
      text += data.toString("utf8");
      const messages = text.split("\0");
      text = messages.pop();
      messages.forEach((message) => this.receive(JSON.parse(message)));
    });
    this.process.on("exit", () => this.waiting.forEach(({reject}) => reject(new Error("the browser ended"))));
  }
  receive(message) {
    if (message.id === undefined) return this.listeners.forEach((listener) => listener(message));
    const {resolve: answer, reject} = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    message.error ? reject(new Error(message.error.message)) : answer(message.result);
  }
  send(method, params = {}, sessionId = undefined) {
    const id = ++this.lastId;
    this.process.stdio[3].write(JSON.stringify({id, method, params, sessionId}) + "\0");
    return new Promise((answer, reject) => this.waiting.set(id, {resolve: answer, reject}));
  }
  async close() {
    const ended = new Promise((done) => this.process.on("exit", done));
    await this.send("Browser.close").catch(() => {});
    await ended;
    rmSync(this.profile, {recursive: true, force: true, maxRetries: 5});
  }
}

/** What the page says about itself; runs inside the browser. */
const inspection = `(async () => {
  const begin = Date.now();
  while (document.documentElement.dataset.charts !== "drawn" && Date.now() - begin < 20000)
    await new Promise((next) => setTimeout(next, 50));
  await new Promise((next) => setTimeout(next, 150));
  const charts = [...document.querySelectorAll("[data-chart]")].map((place) => {
    const svg = place.querySelector("svg");
    const marks = svg ? svg.querySelectorAll(".role-mark path, .role-mark rect, .role-mark line, .role-mark text").length : 0;
    const box = svg ? svg.getBoundingClientRect() : {width: 0, height: 0};
    const unread = svg ? [...svg.querySelectorAll("text")].filter((t) => /NaN|undefined|Infinity|null/.test(t.textContent)).length : 0;
    const clipped = svg ? [...svg.querySelectorAll("text")].filter((t) => {
      const edge = t.getBoundingClientRect();
      return edge.width > 0 && (edge.right > box.right + 1 || edge.left < box.left - 1);
    }).map((t) => t.textContent) : [];
    return {name: place.dataset.chart, marks, unread, clipped, width: box.width, height: box.height,
            wider: box.width > place.getBoundingClientRect().width + 1};
  });
  const wide = [...document.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, svg, pre") &&
    e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map((e) => e.tagName + "." + e.className);
  return {charts, wide, drawn: document.documentElement.dataset.charts,
          specs: Object.keys(JSON.parse(document.getElementById("charts").textContent)).length,
          overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
          height: document.documentElement.scrollHeight,
          words: /NaN|undefined|\\[object|\\binf\\b/.exec(document.body.innerText)?.[0] ?? ""};
})()`;

async function checkPage(browser, file, {width, scheme}, shots) {
  const faults = [];
  const {targetId} = await browser.send("Target.createTarget", {url: "about:blank"});
  const {sessionId} = await browser.send("Target.attachToTarget", {targetId, flatten: true});
  const listen = (message) => {
    if (message.sessionId !== sessionId) return;
    const {method, params} = message;
    if (method === "Runtime.exceptionThrown") faults.push("exception: " + (params.exceptionDetails.exception?.description ?? params.exceptionDetails.text));
    if (method === "Runtime.consoleAPICalled" && ["error", "warning"].includes(params.type))
      faults.push(`console ${params.type}: ` + params.args.map((a) => a.value ?? a.description).join(" "));
    if (method === "Log.entryAdded" && ["error", "warning"].includes(params.entry.level)) faults.push("log: " + params.entry.text);
    if (method === "Network.requestWillBeSent" && !/^(file|data|about):/.test(params.request.url))
      faults.push("request leaves the page: " + params.request.url);
  };
  browser.listeners.add(listen);
  for (const domain of ["Runtime", "Log", "Network", "Page"]) await browser.send(`${domain}.enable`, {}, sessionId);
  await browser.send("Emulation.setDeviceMetricsOverride", {width, height: 900, deviceScaleFactor: 1, mobile: width < 600}, sessionId);
  await browser.send("Emulation.setEmulatedMedia", {features: [{name: "prefers-color-scheme", value: scheme}]}, sessionId);
  await browser.send("Page.navigate", {url: pathToFileURL(resolve(file)).href}, sessionId);
  await new Promise((next) => setTimeout(next, 300));
  const answer = await browser.send("Runtime.evaluate", {expression: inspection, awaitPromise: true, returnByValue: true}, sessionId);
  const page = answer.result.value;
  if (!page) throw new Error("the page could not be inspected: " + JSON.stringify(answer));
  if (page.drawn !== "drawn") faults.push("the charts were not drawn in 20 s");
  if (page.charts.length === 0 || page.charts.length !== page.specs) faults.push(`${page.specs} charts for ${page.charts.length} places`);
  for (const chart of page.charts) {
    if (chart.marks < 1 || chart.width < 150 || chart.height < 40) faults.push(`chart ${chart.name} is empty (${chart.marks} marks, ${chart.width} x ${chart.height})`);
    if (chart.wider) faults.push(`chart ${chart.name} is wider than its place`);
    if (chart.clipped.length) faults.push(`chart ${chart.name} cuts off '${chart.clipped.join("', '")}'`);
    if (chart.unread) faults.push(`chart ${chart.name} has ${chart.unread} labels that are no text for people`);
  }
  if (page.overflow > 0) faults.push(`overflows by ${page.overflow} px: ${page.wide.slice(0, 5).join(", ")}`);
  if (page.words) faults.push(`says '${page.words}'`);
  if (shots) {
    // in slices that a person can look at without scaling
    for (let y = 0, part = 1; y < page.height; y += sliceHeight, ++part) {
      const clip = {x: 0, y, width, height: Math.min(sliceHeight, page.height - y), scale: 1};
      const {data} = await browser.send("Page.captureScreenshot", {format: "png", clip, captureBeyondViewport: true}, sessionId);
      writeFileSync(join(shots, `${basename(file, ".html")}-${width}-${scheme}-${part}.png`), Buffer.from(data, "base64"));
    }
  }
  browser.listeners.delete(listen);
  await browser.send("Target.closeTarget", {targetId});
  return {faults, charts: page.charts.length};
}

const files = process.argv.slice(2);
let shots;
if (files[0] === "--shots") {
  shots = files.splice(0, 2)[1];
  mkdirSync(shots, {recursive: true});
}
if (files.length === 0) {
  console.error("usage: node report_in_browser.mjs [--shots DIR] PAGE.html...");
  process.exit(1);
}
const program = findChromium();
if (!program) {
  console.log("skipped: no Chromium on this machine (install `chromium`, or name one in CHROMIUM)");
  process.exit(77);
}
const browser = new Browser(program);
let failed = 0;
try {
  for (const file of files)
    for (const look of [{width: 1280, scheme: "light"}, {width: 400, scheme: "light"}, {width: 1280, scheme: "dark"}, {width: 400, scheme: "dark"}]) {
      const {faults, charts} = await checkPage(browser, file, look, shots);
      console.log(`${faults.length ? "FAILED" : "ok"}: ${basename(file)} at ${look.width} px, ${look.scheme}: ${charts} charts`);
      faults.forEach((fault) => console.log("  " + fault));
      failed += faults.length;
    }
} finally {
  await browser.close();
}
process.exit(failed ? 1 : 0);
