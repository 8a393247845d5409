"use strict";
// Draws who waits for whom: those who wait on the left, then what they wait for, then who holds that, and so on.
// Everything that comes from clients is put in as text nodes.

const drawGraph = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const BOX = { width: 194, height: 40 };
  const GAP = { column: 64, row: 12 };

  const make = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.appendChild(document.createTextNode(text));
    return element;
  };

  // The longest way that leads to each node; edges that close a circle, which a bound will end, are left out of account.
  const columns = (nodes, edges) => {
    const into = new Map(nodes.map((node) => [node.id, []]));
    edges.forEach((edge) => into.get(edge.to).push(edge.from));
    const column = new Map(), under = new Set();
    const place = (id) => {
      if (column.has(id)) return column.get(id);
      if (under.has(id)) return -1;
      under.add(id);
      const at = Math.max(-1, ...into.get(id).map(place)) + 1;
      under.delete(id);
      column.set(id, at);
      return at;
    };
    nodes.forEach((node) => place(node.id));
    // Those for whom nobody waits stand right before what they wait for, so that no line has to pass behind a box.
    for (const { id } of nodes) {
      const after = edges.filter((edge) => edge.from === id).map((edge) => column.get(edge.to));
      if (!into.get(id).length && after.length) column.set(id, Math.max(0, Math.min(...after) - 1));
    }
    return column;
  };

  const cut = (text, most) => {
    const letters = Array.from(text);
    return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : text;
  };

  return (into, graph, shown, lasting) => {
    const { nodes, edges } = graph;
    const column = columns(nodes, edges);
    const count = Math.max(0, ...column.values()) + 1;
    const rows = Array.from({ length: count }, () => []);
    nodes.forEach((node) => rows[column.get(node.id)].push(node));
    const neighbours = new Map(nodes.map((node) => [node.id, []]));
    edges.forEach((edge) => {
      neighbours.get(edge.from).push(edge.to);
      neighbours.get(edge.to).push(edge.from);
    });
    // Keys stay in the order of their contention; the others go where what they are about is.
    const height = new Map();
    const step = BOX.height + GAP.row;
    const spread = (row) => row.forEach((node, at) => height.set(node.id, at * step));
    rows.forEach(spread);
    for (let round = 0; round < 6; round++) {
      const order = round % 2 ? [...rows].reverse() : rows;
      for (const row of order) {
        const wanted = new Map(row.map((node) => {
          const near = neighbours.get(node.id);
          const sum = near.reduce((all, id) => all + height.get(id), 0);
          return [node.id, near.length ? sum / near.length : height.get(node.id)];
        }));
        row.sort((one, other) => wanted.get(one.id) - wanted.get(other.id) || one.id - other.id);
        let free = 0;
        for (const node of row) {
          const at = Math.max(free, wanted.get(node.id));
          height.set(node.id, at);
          free = at + step;
        }
      }
    }
    const top = Math.min(...height.values());
    const across = Math.max(into.clientWidth - 40, 0);
    const gap = Math.min(240, Math.max(GAP.column, (across - count * BOX.width) / Math.max(count - 1, 1)));
    const x = (id) => column.get(id) * (BOX.width + gap) + 1;
    const y = (id) => height.get(id) - top + 1;
    const width = count * BOX.width + (count - 1) * gap + 2;
    const tall = Math.max(...height.values()) - top + BOX.height + 2;
    const svg = make("svg", { width, height: tall, viewBox: `0 0 ${width} ${tall}`, role: "img" });
    svg.appendChild(make("title", {}, "Who waits for whom"));
    const lines = svg.appendChild(make("g", {})), words = make("g", {});

    const waits = new Set(edges.filter((edge) => edge.kind === "waits").map((edge) => edge.from));
    for (const edge of edges) {
      const back = column.get(edge.to) <= column.get(edge.from);
      const [fromX, fromY] = [x(edge.from) + BOX.width, y(edge.from) + BOX.height / 2];
      const [toX, toY] = [x(edge.to) - 6, y(edge.to) + BOX.height / 2];
      const bend = back ? 70 : Math.max(30, (toX - fromX) / 2);
      const path = `M${fromX} ${fromY} C${fromX + bend} ${fromY} ${toX - bend} ${toY} ${toX} ${toY}`;
      lines.appendChild(make("path", { class: `edge ${edge.kind}`, d: path }))
        .appendChild(make("title", {}, edge.site ? shown(edge.site) : ""));
      lines.appendChild(make("path", { class: `head-${edge.kind}`, d: `M${toX + 6} ${toY} l-8 -4 v8 z` }));
      const text = edge.kind === "waits" ? lasting(edge.waited_ms) : edge.age_ms === null ? "" : lasting(edge.age_ms);
      // Near the end that belongs to one alone: to who waits, or to who holds.
      const near = edge.kind === "waits" ? 0.3 : 0.7;
      const at = { x: fromX + (toX - fromX) * near, y: fromY + (toY - fromY) * (near < 0.5 ? 0.22 : 0.78) - 5 };
      words.appendChild(make("text", { ...at, class: `small on ${edge.kind}`, "text-anchor": "middle" }, text));
    }
    for (const node of nodes) {
      const box = svg.appendChild(make("g", { transform: `translate(${x(node.id)} ${y(node.id)})` }));
      const kind = node.kind === "key" ? "key" : waits.has(node.id) ? "client waits" : "client holds";
      box.appendChild(make("rect", { class: `box ${kind}`, width: BOX.width, height: BOX.height, rx: node.kind === "key" ? 4 : 10 }));
      const inside = (row, name, text) =>
        box.appendChild(make("text", { x: 11, y: row, class: name }, text));
      if (node.kind === "key") {
        inside(17, "key", cut(shown(node.key), 23));
        const more = node.more_waiters ? `, ${node.more_waiters} not drawn` : "";
        inside(32, "small", `${node.waiters} waiting${more}`);
        box.appendChild(make("title", {}, shown(node.key)));
      } else {
        const name = node.label || node.process || "somebody";
        inside(17, "", cut(shown(name), 23));
        const more = [node.pid && `pid ${node.pid}`, node.who, node.host].filter(Boolean).map(shown).join(" · ");
        inside(32, "small", cut(more, 30));
        box.appendChild(make("title", {}, [shown(name), more].join(" ")));
      }
    }
    svg.appendChild(words);
    into.replaceChildren(svg);
  };
})();
