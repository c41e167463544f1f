// Segment's own SDK, pointed at a collector:  node speak.js URL
const { Analytics } = require("@segment/analytics-node");
const analytics = new Analytics({ writeKey: "wk", host: process.argv[2], flushAt: 4 });
const failures = [];
analytics.on("error", (error) => failures.push(String(error.reason ?? error.code)));
const at = new Date("2026-03-01T08:00:00Z");
const who = { anonymousId: "an-1" };
analytics.identify({ userId: "7", ...who, traits: { plan: "pro", address: { city: "Bonn" }, email: "A@x.io" } });
analytics.track({ userId: "7", event: "Order Completed", properties: { total: 9.5 }, timestamp: at });
analytics.track({ ...who, event: "Pricing Viewed" });
analytics.page({ userId: "7", name: "Home", category: "Docs", properties: { path: "/" } });
analytics.screen({ userId: "7", name: "Start" });
analytics.group({ userId: "7", groupId: "acme", traits: { seats: 5 } });
analytics.alias({ userId: "7", previousId: "an-0" });
analytics.closeAndFlush({ timeout: 30000 }).then(() => console.log(JSON.stringify(failures)));
