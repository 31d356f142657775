/** What a browser calls itself, cut down to what a person knows it by. */
export function browserName(said: string): string {
  const find = (names: [RegExp, string][]) => names.find(([like]) => like.test(said))?.[1];
  const browser = find([
    [/\bEdg(A|iOS)?\//, "Edge"],
    [/\bOPR\//, "Opera"],
    [/\b(Firefox|FxiOS)\//, "Firefox"],
    [/\b(Chrome|CriOS|HeadlessChrome)\//, "Chrome"],
    [/\bSafari\//, "Safari"],
  ]);
  const system = find([
    [/\bAndroid\b/, "Android"],
    [/\b(iPhone|iPad)\b/, "iOS"],
    [/\bWindows\b/, "Windows"],
    [/\bMac OS X\b/, "macOS"],
    [/\bLinux\b/, "Linux"],
  ]);
  if (browser === undefined) return said.slice(0, 60) || "unknown";
  return system === undefined ? browser : `${browser} on ${system}`;
}
