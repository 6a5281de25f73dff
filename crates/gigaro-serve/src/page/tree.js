// A conversation as a tree: its branches, and which of them is on the screen. Nothing here touches the page.

/** The messages from the first to `leaf`. */
export function branch(messages, leaf) {
  const byId = new Map(messages.map((message) => [message.id, message]));
  const found = [];
  for (let next = byId.get(leaf); next; next = byId.get(next.parent)) found.push(next);
  return found.reverse();
}

/** All that follow the same message as this one, in the order in which they were begun. */
export const siblings = (messages, message) => messages.filter((other) => other.parent === message.parent);

/** The end of the branch that was last gone on with under `message`. */
export function lastLeaf(messages, message) {
  let leaf = message;
  for (;;) {
    const next = messages.filter((other) => other.parent === leaf.id).at(-1);
    if (!next) return leaf;
    leaf = next;
  }
}
