// What changed: about one question a second for the whole page, whose parts say with `news.on(name, told)` what they do then.
window.news = (() => {
  const SECONDS = 1.2; // between two questions, where no answer says when to ask again
  const PATIENCE = 3; // questions without an answer, before it is said
  const LONGEST = 10_000; // milliseconds that an answer is waited for
  const listeners = {}; // by name
  const latest = {}; // by name: what was told last, also to parts that come later
  let marks = [];
  let asked = { key: "", watched: "" };
  let turn = 0; // of the newest question: answers to older ones are dropped
  let unanswered = 0;
  let timer;

  function tell(answer) {
    if (marks.length && marks[0] !== answer.marks[0]) location.reload(); // another server is there, maybe a newer one
    marks = answer.marks;
    for (const [name, content] of Object.entries(answer.news)) {
      latest[name] = content;
      try {
        listeners[name]?.(content);
      } catch (error) {
        reportError(error);
      }
    }
  }

  // Beside the page itself, which may be shown within another one.
  function address() {
    const url = new URL(document.querySelector("gradio-app[src]")?.getAttribute("src") ?? "", location.href);
    url.pathname = `${url.pathname.replace(/\/$/, "")}/news`;
    url.search = new URLSearchParams({ watched: asked.watched, seen: marks.join() });
    return url;
  }

  async function ask() {
    clearTimeout(timer);
    const mine = ++turn;
    let seconds = SECONDS;
    try {
      const signal = AbortSignal.timeout(LONGEST);
      const response = await fetch(address(), { headers: { "X-Visitor": asked.key }, signal });
      const answer = response.status === 200 ? await response.json() : null;
      if (mine !== turn) return;
      seconds = Number(response.headers.get("X-Ask-In")) || SECONDS;
      if (answer) tell(answer);
      unanswered = response.ok ? 0 : unanswered + 1;
    } catch {
      if (mine !== turn) return;
      unanswered += 1;
    }
    const note = document.getElementById("unanswered");
    const said = unanswered >= PATIENCE ? "The server does not answer. Trying again…" : "";
    if (note && note.textContent !== said) note.textContent = said;
    timer = setTimeout(ask, 1000 * seconds);
  }

  return {
    on(name, told) {
      listeners[name] = told;
      if (name in latest) told(latest[name]);
    },
    // At once, and from now on again and again, for who has this key and about the run that is watched.
    ask(key, watched) {
      asked = { key: key ?? "", watched: watched ?? "" };
      ask();
    },
  };
})();
