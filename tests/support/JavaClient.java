import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.net.http.WebSocketHandshakeException;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/**
 * Publishes and subscribes as programs in Java do, and prints a line for each way.
 * Run it with `java JavaClient.java URL`, and with `HTTP_1_1` after it for that version of HTTP.
 */
class JavaClient {
  static final int PATIENCE_S = 10;

  public static void main(String[] args) throws Exception {
    var builder = HttpClient.newBuilder();
    if (args.length > 1) builder.version(HttpClient.Version.valueOf(args[1]));
    var client = builder.build();
    System.out.println("POST: " + post(client, args[0]));
    System.out.println("SSE: " + firstEvent(client, args[0]));
    System.out.println("WebSocket: " + echo(client, args[0]));
    System.exit(0);
  }

  static int post(HttpClient client, String url) throws Exception {
    var request = request(url + "/publish")
        .header("content-type", "application/x-www-form-urlencoded")
        .POST(BodyPublishers.ofString("name=java&data=posted"))
        .build();
    return client.send(request, BodyHandlers.ofString()).statusCode();
  }

  static String firstEvent(HttpClient client, String url) throws Exception {
    var request = request(url + "/subscribe?name=java&seq=0")
        .header("accept", "text/event-stream").build();
    var response = client.send(request, BodyHandlers.ofLines());
    if (response.statusCode() != 200) return "" + response.statusCode();
    return response.body().filter(line -> line.startsWith("data: ")).findFirst().get();
  }

  static String echo(HttpClient client, String url) throws Exception {
    var frame = new CompletableFuture<String>();
    var listener = new WebSocket.Listener() {
      @Override
      public CompletionStage<?> onText(WebSocket socket, CharSequence text, boolean last) {
        frame.complete(text.toString());
        return null;
      }
    };
    var address = URI.create(url.replaceFirst("^http", "ws") + "/websocket?name=echo");
    try {
      var socket = client.newWebSocketBuilder().buildAsync(address, listener).get();
      socket.sendText("sent", true).get();
    } catch (ExecutionException refused) {
      if (refused.getCause() instanceof WebSocketHandshakeException handshake) {
        return "" + handshake.getResponse().statusCode();
      }
      throw refused;
    }
    return frame.get(PATIENCE_S, TimeUnit.SECONDS);
  }

  static HttpRequest.Builder request(String url) {
    return HttpRequest.newBuilder(URI.create(url)).timeout(Duration.ofSeconds(PATIENCE_S));
  }
}
