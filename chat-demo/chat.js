// The whole demo: an EventSource for what comes, one request for what goes.
const CHANNEL = "chat-demo";
const messages = document.querySelector("#messages");
const form = document.querySelector("#form");
const name = document.querySelector("#name");
const text = document.querySelector("#text");

const source = new EventSource(`../subscribe?name=${CHANNEL}&seq=0`);
source.addEventListener("message", ({ data }) => {
  const item = document.createElement("li");
  item.textContent = data;
  messages.append(item);
});

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const data = `${name.value}: ${text.value}`;
  text.value = "";
  await fetch("../publish", {
    method: "POST",
    body: new URLSearchParams({ name: CHANNEL, data }),
  });
});
