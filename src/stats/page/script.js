// Renews what changes: the page is fetched again, and each part marked with data-live takes the place
// of the old one. So there is one way from numbers to text, on the server, and details stay open.
(() => {
  "use strict";
  const every = 2000;
  const patience = 5000;
  const status = document.getElementById("status");
  const button = document.getElementById("pause");
  let paused = false;
  let busy = false;
  let lostAt = "";

  // As all times on the page.
  const clock = () => `${new Date().toISOString().slice(11, 19)} UTC`;

  const say = (text, trouble) => {
    if (status.textContent !== text) status.textContent = text;
    status.classList.toggle("trouble", trouble);
  };

  const isReading = () => {
    const selection = document.getSelection();
    return selection !== null && !selection.isCollapsed;
  };

  const partsOf = (page) => page.querySelectorAll("[data-live]");

  const renew = (parts) => {
    // Another configuration: nothing stands where it did.
    if (parts.length !== partsOf(document).length) return location.reload();
    for (const part of parts) {
      const old = document.getElementById(part.id);
      if (old === null) return location.reload();
      if (!old.isEqualNode(part)) old.replaceChildren(...part.childNodes);
    }
  };

  const ask = async () => {
    if (paused || busy || document.hidden) return;
    busy = true;
    let trouble = "No answer";
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(patience) });
      if (!answer.ok) throw new Error(trouble = `The server answers ${answer.status}`);
      const parts = partsOf(new DOMParser().parseFromString(await answer.text(), "text/html"));
      if (parts.length === 0) throw new Error(trouble = "Another page answers");
      lostAt = "";
      if (paused) return;
      if (!isReading()) renew(parts);
      say(isReading() ? "Waits while text is selected" : "Live", false);
    } catch {
      lostAt = lostAt || clock();
      if (!paused) say(`${trouble} since ${lostAt}; these numbers are older. Trying again.`, true);
    } finally {
      busy = false;
    }
  };

  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause";
    say(paused ? "Paused" : "Live", false);
    ask();
  });
  document.addEventListener("visibilitychange", ask);
  setInterval(ask, every);
  say("Live", false);
})();
