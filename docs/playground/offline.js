// Keeps this version of the page, so that it opens without a network; the build writes the version and the files.
const NAME = "derive-VERSION";
const FILES = ["FILES"];

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(NAME).then((cache) => cache.addAll(["./", ...FILES])).then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const others = caches.keys().then((all) => all.filter((name) => name.startsWith("derive-") && name !== NAME));
  event.waitUntil(others.then((names) => Promise.all(names.map((name) => caches.delete(name)))));
});

// A page of one version has all its files of that version: what is kept is not asked for again.
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || new URL(event.request.url).origin !== location.origin) return;
  event.respondWith(caches.open(NAME).then(async (cache) => (await cache.match(event.request, {ignoreSearch: true})) ?? fetch(event.request)));
});
