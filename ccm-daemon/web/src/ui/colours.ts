/** The page's colours as what draws itself takes them. They are what the theme makes of them now, so ask anew when it changes. */
export function colours(place: HTMLElement): (token: string) => string {
  const probe = document.createElement("i");
  probe.hidden = true;
  return (token) => {
    place.append(probe);
    probe.style.color = `var(${token})`;
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
  };
}
