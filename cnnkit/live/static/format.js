// Numbers as people read them.

export const MISSING = "–";

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

/** A share, 0 to 1, in per cent. */
export function percent(value, digits = 1) {
  return isNumber(value) ? `${(100 * value).toFixed(digits)} %` : MISSING;
}

/** A number with so many significant digits, written out unless it is below `smallest` or very large. */
export function significant(value, digits = 4, smallest = 1e-4) {
  if (!isNumber(value)) return MISSING;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size < smallest || size >= 1e6) return value.toExponential(digits - 1).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(digits)));
}

export function whole(value) {
  return isNumber(value) ? Math.round(value).toLocaleString("en") : MISSING;
}

/** Seconds as 12 s, 4 min 05 s, 2 h 03 min. */
export function duration(seconds) {
  if (!isNumber(seconds)) return MISSING;
  const total = Math.round(seconds);
  if (total < 60) return `${total} s`;
  const minutes = Math.floor(total / 60);
  const pad = (number) => String(number).padStart(2, "0");
  if (minutes < 60) return `${minutes} min ${pad(total % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}
