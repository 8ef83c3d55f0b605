// better-sse as a careful user would write it: sessions by user, and every event through Redis, so that more than one
// process could serve. Nobody is asked for a token, and nothing is kept.
import { createServer } from "node:http"
import { createSession } from "better-sse"
import Redis from "ioredis"

const [port, socket] = process.argv.slice(2)
const publisher = new Redis(socket)
const subscriber = new Redis(socket)
const sessions = new Map() // a Set for each user
let sent = 0

subscriber.on("message", (_, message) => {
	const { user, data } = JSON.parse(message)
	const id = String(++sent) // cheaper than the random one that better-sse would make
	for (const session of sessions.get(user) ?? []) session.push(data, "message", id)
})

async function listen(user, request, response) {
	const session = await createSession(request, response, { serializer: String, keepAlive: 15000 })
	if (!sessions.has(user)) sessions.set(user, new Set())
	const own = sessions.get(user).add(session)
	session.on("disconnected", () => {
		own.delete(session)
		if (own.size === 0 && sessions.get(user) === own) sessions.delete(user)
	})
}

function whole(request, then) {
	let body = ""
	request.setEncoding("utf8")
	request.on("data", (piece) => (body += piece))
	request.on("end", () => then(body))
}

async function publish(body, response) {
	await Promise.all([JSON.parse(body)].flat().map((event) => publisher.publish("events", JSON.stringify(event))))
	response.writeHead(200, { "Content-Type": "application/json" }).end("{}")
}

const server = createServer((request, response) => {
	const url = new URL(request.url, "http://localhost")
	if (url.pathname === "/events") listen(url.searchParams.get("user"), request, response)
	else if (url.pathname === "/publish") whole(request, (body) => publish(body, response))
	else response.writeHead(204).end()
})

await subscriber.subscribe("events")
server.listen({ port: Number(port), host: "127.0.0.1", backlog: 4096 })
