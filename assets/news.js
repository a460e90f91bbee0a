// What changed: one question a second for the whole page, whose parts say with `news.on(name, told)` what they do then.
window.news = (() => {
  const SECONDS = 1;
  const PATIENCE = 3; // questions without an answer, before it is said
  const listeners = {}; // by name
  const latest = {}; // by name: what was told last, also to parts that come later
  let marks = [];
  let asked = { key: "", watched: "" };
  let turn = 0; // of the newest question: answers to older ones are dropped
  let unanswered = 0;
  let timer;

  function tell(answer) {
    marks = answer.marks;
    for (const [name, content] of Object.entries(answer.news)) {
      latest[name] = content;
      listeners[name]?.(content);
    }
  }

  async function ask() {
    clearTimeout(timer);
    const mine = ++turn;
    const address = `${location.pathname.replace(/\/?$/, "/")}news`;
    const question = new URLSearchParams({ watched: asked.watched, seen: marks.join() });
    try {
      const response = await fetch(`${address}?${question}`, { headers: { "X-Visitor": asked.key } });
      const answer = response.status === 200 ? await response.json() : null;
      if (mine !== turn) return;
      if (answer) tell(answer);
      unanswered = response.ok ? 0 : unanswered + 1;
    } catch {
      if (mine !== turn) return;
      unanswered += 1;
    }
    document.body.classList.toggle("unanswered", unanswered >= PATIENCE);
    timer = setTimeout(ask, 1000 * SECONDS);
  }

  return {
    on(name, told) {
      listeners[name] = told;
      if (name in latest) told(latest[name]);
    },
    // At once, and from now on once a second, for who has this key and about the run that is watched.
    ask(key, watched) {
      asked = { key: key ?? "", watched: watched ?? "" };
      ask();
    },
  };
})();
