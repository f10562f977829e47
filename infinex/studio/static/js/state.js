// What the whole page shares: the portrait, the face in it, what the server offers.

export const shared = {
  offer: null,
  portrait: null, // {id, width, height, faces, largest, name}
  face: 1,
  view: "portrait",
};

// A group has faces of its own to move, each by layers of its own.
export const group = () => (shared.portrait?.faces.length ?? 1) > 1;

const listeners = {};

export function on(event, handler) {
  (listeners[event] ??= []).push(handler);
}

export function tell(event, detail) {
  for (const handler of listeners[event] ?? []) handler(detail);
}
