// What a request does, in words for people: "refused to …", "did not … within 5000 ms". Most names of requests say it already;
// owns those that do not.

const WORDS: Readonly<Record<string, string>> = {
  hello: 'take the connection',
  metadata: 'tell who leads what',
  clusterInfo: 'tell of the cluster',
  initProducerId: 'begin a producer session',
  replicaFetch: 'give a replica its records',
}

/** `describeTopics` becomes `describe topics`. */
export function wordsOf(request: string): string {
  return WORDS[request] ?? request.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}
