// Copies the address of exactly this view. Where the browser forbids it, the address is shown, ready to copy by hand.

// Values that stand at their default are not in the address bar; a link that is passed on names them.
function explicit(address, choices) {
  const url = new URL(address);
  for (const [name, value] of Object.entries(choices)) {
    if (value && !url.searchParams.has(name)) url.searchParams.set(name, value);
  }
  return url.href;
}

export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button");
  const shown = parentElement.querySelector("input");
  let timer = null;
  button.onclick = async () => {
    const address = explicit(window.location.href, data);
    try {
      await navigator.clipboard.writeText(address);
      button.textContent = "Copied";
    } catch {
      shown.hidden = false;
      shown.value = address;
      shown.select();
      button.textContent = "Press Ctrl+C";
    }
    clearTimeout(timer);
    timer = setTimeout(() => (button.textContent = "Copy link"), 2000);
  };
  return () => clearTimeout(timer);
}
