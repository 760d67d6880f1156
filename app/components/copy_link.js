// Copies the address of exactly this view. Where the browser forbids it, the address is shown, ready to copy by hand.

export default function ({ parentElement }) {
  const button = parentElement.querySelector("button");
  const shown = parentElement.querySelector("input");
  let timer = null;
  button.onclick = async () => {
    const address = window.location.href;
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
