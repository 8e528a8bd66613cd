// Elements, and numbers as people read them.

// make builds an element. Strings become text, never markup.
export function make(name, attributes, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== undefined && value !== false && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined && child !== ""));
  return element;
}

export const id = name => document.getElementById(name);
export const put = (element, value) => { if (element.textContent !== String(value)) element.textContent = value; };
export const text = (name, value) => put(id(name), value);

export const number = v => v.toLocaleString("en", { maximumFractionDigits: v < 10 ? 1 : 0 });
export const percent = share => (share > 0.99 && share < 1 ? ">99" : share > 0 && share < 0.01 ? "<1" : Math.round(share * 100)) + "\u00a0%";
export const plural = (n, word) => number(n) + " " + word + (n === 1 ? "" : "s");

// clock is a time of day, with the date if that is not today.
export function clock(unix, now, seconds) {
  const at = new Date(unix * 1000);
  const time = at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined });
  return at.toDateString() === new Date(now * 1000).toDateString() ? time : at.toLocaleDateString("en-GB", { day: "numeric", month: "short" }) + " " + time;
}

// lasting is a duration in its two largest units.
export function lasting(seconds) {
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = units.findIndex(([size]) => seconds >= size);
  if (first < 0) return "0 s";
  const [size, name] = units[first], whole = Math.floor(seconds / size), next = units[first + 1];
  const rest = next ? Math.floor((seconds - whole * size) / next[0]) : 0;
  return whole + " " + name + (rest ? " " + rest + " " + next[1] : "");
}

export function micros(us) {
  if (us >= 1e6) return +(us / 1e6).toPrecision(3) + " s";
  return us >= 1000 ? +(us / 1000).toPrecision(3) + " ms" : +us.toPrecision(3) + " µs";
}

// held reports whether somebody points at an element or works in it. It must not change
// under their hands. A touch screen reports no pointer that stays.
const pointer = matchMedia("(hover: hover)");
export const held = element => element.matches(":focus-within") || pointer.matches && element.matches(":hover");
