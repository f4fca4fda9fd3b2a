"use strict";
(() => {
  const run = JSON.parse(document.getElementById("run-data").textContent);
  const timeline = document.getElementById("timeline");
  const cursor = document.getElementById("cursor");
  const readout = document.getElementById("readout");
  const whole = document.getElementById("whole");
  const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400];
  let from = run.start, to = run.until;

  const clock = (seconds, step) => {
    const whole = Math.floor(seconds + 1e-6), digits = step < 1 ? 1 : 0;
    const rest = (seconds - Math.floor(whole / 60) * 60).toFixed(digits).padStart(digits ? 4 : 2, "0");
    const minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
    return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
  };
  const span = (ms) => ms === null ? "–" : ms >= 1000 ? `${+(ms / 1000).toPrecision(3)} s` : `${ms} ms`;

  function show(begin, end) {
    const least = Math.min(0.5, run.until - run.start);
    from = Math.max(run.start, begin);
    to = Math.min(run.until, Math.max(end, from + least));
    for (const drawing of timeline.querySelectorAll(".drawing svg, svg.bands")) {
      const height = drawing.viewBox.baseVal.height;
      drawing.setAttribute("viewBox", `${from} 0 ${to - from} ${height}`);
    }
    for (const flag of timeline.querySelectorAll(".moments a")) {
      const at = Number(flag.dataset.at);
      flag.style.left = `${100 * ((flag.dataset.end ? Math.max(at, from) : at) - from) / (to - from)}%`;
      const end = Number(flag.dataset.end ?? at);
      if (flag.dataset.end) flag.style.width = `${100 * (end - Math.max(at, from)) / (to - from)}%`;
      flag.hidden = end < from || at > to;
    }
    const most = Math.max(3, Math.floor((timeline.clientWidth - 170) / 84));
    const step = STEPS.find((each) => (to - from) / each <= most) ?? 28800;
    for (const ticks of timeline.querySelectorAll(".ticks")) {
      ticks.replaceChildren();
      for (let n = Math.ceil(from / step); n * step <= to; n++) {
        const tick = document.createElement("span"), share = (n * step - from) / (to - from);
        tick.textContent = clock(n * step, step);
        tick.style.left = `${100 * share}%`;
        if (share < 0.02) tick.style.transform = "none";
        if (share > 0.98) tick.style.transform = "translateX(-100%)";
        ticks.append(tick);
      }
    }
    whole.hidden = from === run.start && to === run.until;
  }

  const place = (event) => {
    const box = cursor.getBoundingClientRect();
    return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
  };
  const at = (share) => from + share * (to - from);

  function tell(event) {
    const drawing = event.target.closest(".drawing");
    if (!drawing) return hide();
    const share = place(event), time = at(share), lines = [];
    const line = (text, kind) => {
      const one = document.createElement("div");
      one.textContent = text;
      if (kind) one.className = kind;
      lines.push(one);
    };
    const title = document.createElement("b");
    title.textContent = clock(time, 0.1);
    lines.push(title);
    const bucket = run.buckets[Math.min(run.buckets.length - 1, Math.floor(time / run.width))];
    const rate = (count) => +(count / run.width).toPrecision(3);
    if (bucket) {
      line(`${rate(bucket[0])} writes/s` + (bucket[1] ? `, ${rate(bucket[1])} unknown` : "") + (bucket[2] ? `, ${rate(bucket[2])} failed` : ""));
      line(`median ${span(bucket[4])}, p99 ${span(bucket[5])}, longest ${span(bucket[6])}`);
      line(`${rate(bucket[3])} records read/s`);
    }
    if (drawing.parentElement.dataset.row === "leaders") {
      const box = drawing.getBoundingClientRect();
      const lane = Math.floor((event.clientY - box.top) / box.height * run.leaders.length);
      const [name, row] = run.leaders[Math.min(run.leaders.length - 1, Math.max(0, lane))];
      const now = row.find(([begin, end]) => begin <= time && time < end);
      const who = now && now[2] >= 0 ? `node ${now[2]}` : "nobody";
      line(!now ? `${name}: nobody could be asked` : lane === 0 ? `${name}: ${who}` : `${name}: led by ${who} in epoch ${now[3]}, in sync ${now[4].join(" ")}`);
    }
    const active = run.faults.filter(([begin, end]) => begin <= time && time < Math.max(end, begin + (to - from) / 300));
    for (const [, , text] of active.slice(0, 6)) line(text, "under");
    readout.replaceChildren(...lines);
    readout.hidden = false;
    const width = readout.offsetWidth, height = readout.offsetHeight;
    readout.style.left = `${event.clientX + 18 + width > innerWidth ? event.clientX - 18 - width : event.clientX + 18}px`;
    readout.style.top = `${Math.max(6, Math.min(event.clientY + 14, innerHeight - height - 6))}px`;
    const hair = document.createElement("i");
    hair.style.left = `${100 * share}%`;
    cursor.replaceChildren(hair);
    if (drag !== null) {
      const chosen = document.createElement("em");
      chosen.style.left = `${100 * Math.min(drag, share)}%`;
      chosen.style.width = `${100 * Math.abs(drag - share)}%`;
      cursor.append(chosen);
    }
  }
  function hide() {
    readout.hidden = true;
    cursor.replaceChildren();
  }

  let drag = null;
  timeline.addEventListener("pointermove", tell);
  timeline.addEventListener("pointerleave", hide);
  timeline.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button === 0 && event.target.closest(".drawing")) {
      drag = place(event);
      event.preventDefault();
    }
  });
  addEventListener("pointerup", (event) => {
    if (drag === null) return;
    const begin = Math.min(drag, place(event)), end = Math.max(drag, place(event));
    drag = null;
    hide();
    if (end - begin > 0.005) show(at(begin), at(end));
  });
  whole.addEventListener("click", () => show(run.start, run.until));
  timeline.addEventListener("dblclick", () => show(run.start, run.until));
  addEventListener("resize", () => show(from, to));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-from]");
    if (!link) return;
    event.preventDefault();
    show(Number(link.dataset.from), Number(link.dataset.to));
    timeline.scrollIntoView({ behavior: "smooth", block: "center" });
  });
  show(run.start, run.until);
})();
