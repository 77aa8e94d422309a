// Renews what happened and what is true, as soon as something happens. The forms stay as they are.
"use strict";

let isRenewing = false;

async function renew() {
  // Who writes in a body would lose it.
  if (isRenewing || document.activeElement?.tagName === "TEXTAREA") return;
  isRenewing = true;
  await new Promise((done) => setTimeout(done, 50));
  isRenewing = false;
  const response = await fetch("/_/");
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const open = [...document.querySelectorAll("details[open]")].map((entry) => entry.id);
  for (const part of ["phones", "happened", "truth"]) {
    document.getElementById(part).replaceWith(page.getElementById(part));
  }
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
}

const events = new EventSource("/_/events");
// Also after a connection was lost.
events.onopen = renew;
events.onmessage = renew;
