import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

/**
 * What pgjdbc sees of a database behind the gateway.
 *
 * <p>Environment: PGHOST, PGPORT, PGDATABASE, PGUSER and, but through {@code sluice connect}, PGPASSWORD (a token). Prints a line for each check; exits
 * with 1 when one fails. The runner approves {@code CREATE TABLE interop_…} and denies {@code DROP TABLE notes}, both after 0.6 s.
 */
public class Jdbc {
  static final String WAY = System.getenv("WAY");
  static final String MASKED = "***********";
  static boolean failed = false;

  interface Run {
    void run() throws Exception;
  }

  static void check(String what, boolean passed, Object... seen) {
    failed |= !passed;
    System.out.println((passed ? "ok" : "not ok") + " - pgjdbc, " + WAY + ": " + what + (passed ? "" : " (" + java.util.Arrays.toString(seen) + ")"));
  }

  /** The error of what failed; one without a state when it did not. */
  static SQLException refusal(Run run) throws Exception {
    try {
      run.run();
    } catch (SQLException refused) {
      return refused;
    }
    return new SQLException("it was let through", "");
  }

  static String detail(SQLException error) {
    return error instanceof PSQLException refused && refused.getServerErrorMessage() != null ? refused.getServerErrorMessage().getDetail() : null;
  }

  static int number(Connection connection, String sql) throws SQLException {
    try (Statement statement = connection.createStatement(); ResultSet rows = statement.executeQuery(sql)) {
      rows.next();
      return rows.getInt(1);
    }
  }

  public static void main(String[] args) throws Exception {
    Properties properties = new Properties();
    properties.put("user", System.getenv("PGUSER"));
    if (System.getenv("PGPASSWORD") != null) properties.put("password", System.getenv("PGPASSWORD"));
    properties.put("connectTimeout", "20");
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
    Connection connection = DriverManager.getConnection(url, properties);
    Statement statement = connection.createStatement();

    ResultSet role = statement.executeQuery("SELECT current_user");
    check("logs in", role.next() && role.getString(1).equals("gateway"));

    // From its fifth run a statement is named, and its results are binary where the driver can.
    try (PreparedStatement select = connection.prepareStatement("SELECT id, ssn, card, email, since FROM customers WHERE id = ?")) {
      boolean good = true;
      for (int id = 1; id <= 20; id++) {
        select.setInt(1, id);
        ResultSet row = select.executeQuery();
        good &= row.next() && row.getInt(1) == id && row.getString(2).equals(MASKED) && !row.getString(4).contains("@") && row.getDate(5) != null;
      }
      check("reads rows masked through a statement that becomes prepared", good);
    }
    try (Connection simple = DriverManager.getConnection(url + "?preferQueryMode=simple", properties);
        ResultSet row = simple.createStatement().executeQuery("SELECT id, ssn FROM customers WHERE id = 1")) {
      check("reads a row masked, simple protocol", row.next() && row.getString(2).equals(MASKED));
    }
    connection.setAutoCommit(false);
    try (Statement portal = connection.createStatement()) {
      portal.setFetchSize(7);
      ResultSet rows = portal.executeQuery("SELECT id, ssn FROM customers");
      int count = 0;
      while (rows.next()) if (rows.getString(2).equals(MASKED)) count++;
      check("reads a portal 7 rows at a time, masked", count == 120, count);
    }
    connection.commit();

    statement.execute("INSERT INTO scratch VALUES (1, 'pgjdbc " + WAY + "')");
    SQLException first = refusal(() -> statement.execute("DELETE FROM customers"));
    SQLException second = refusal(() -> statement.execute("INSERT INTO scratch VALUES (2, 'pgjdbc " + WAY + "')"));
    SQLException commit = refusal(connection::commit);
    connection.rollback();
    connection.setAutoCommit(true);
    int left = number(connection, "SELECT count(*) FROM scratch WHERE note = 'pgjdbc " + WAY + "'");
    check("a transaction with a denied statement leaves nothing", first.getSQLState().equals("42501") && second.getSQLState().equals("25P02") && left == 0, first, second, commit, left);

    SQLException denied = refusal(() -> statement.execute("DELETE FROM customers WHERE id = 1"));
    check("a denied statement gets 42501 with its rule", denied.getSQLState().equals("42501") && detail(denied) != null, denied);
    check("the connection goes on after it", number(connection, "SELECT 1") == 1);
    SQLException wrong = refusal(() -> statement.execute("SELECT ssn, name::int FROM customers WHERE id = 1"));
    check("an error carries no value", wrong.getSQLState().equals("22P02") && !wrong.getMessage().contains("504-84"), wrong);

    try (PreparedStatement insert = connection.prepareStatement("INSERT INTO scratch VALUES (?, ?)")) {
      for (int i = 0; i < 300; i++) {
        insert.setInt(1, i);
        insert.setString(2, "a batch of pgjdbc " + WAY);
        insert.addBatch();
      }
      check("sends 300 inserts in a batch", insert.executeBatch().length == 300);
    }
    long copied = connection.unwrap(PGConnection.class).getCopyAPI().copyIn("COPY scratch FROM STDIN", new StringReader("1\tpgjdbc\n2\tpgjdbc\n"));
    check("COPY in", copied == 2, copied);
    StringWriter out = new StringWriter();
    connection.unwrap(PGConnection.class).getCopyAPI().copyOut("COPY (SELECT id, ssn FROM customers ORDER BY id) TO STDOUT", out);
    String[] lines = out.toString().split("\n");
    check("COPY out, masked", lines.length == 120 && java.util.Arrays.stream(lines).allMatch(line -> line.endsWith("\t" + MASKED)), lines[0]);

    long since = System.nanoTime();
    statement.execute("CREATE TABLE interop_jdbc_" + WAY + " (id int)");
    check("a held statement waits until it is approved", System.nanoTime() - since > 400_000_000L);
    check("a notice tells of the approval", statement.getWarnings() != null && statement.getWarnings().getMessage().contains("approv"), statement.getWarnings());
    SQLException denial = refusal(() -> statement.execute("DROP TABLE notes"));
    check("a held statement that is denied says why", denial.getSQLState().equals("42501") && (denial.getMessage() + detail(denial)).contains("not this one"), denial);

    String running = "SELECT count(*) FROM customers a, customers b, customers c, customers d, customers e";
    for (String[] each : new String[][] {{"held", "DROP TABLE transfers", "1000"}, {"running", running, "1000"}}) {
      new Timer(true)
          .schedule(
              new TimerTask() {
                @Override
                public void run() {
                  try {
                    statement.cancel();
                  } catch (SQLException error) {
                    check("sends a cancel request", false, error);
                  }
                }
              },
              Long.parseLong(each[2]));
      SQLException cancelled = refusal(() -> statement.execute(each[1]));
      check("a cancel request reaches a " + each[0] + " statement", "57014".equals(cancelled.getSQLState()), cancelled);
    }
    check("and the connection goes on", number(connection, "SELECT 1") == 1);
    connection.close();
    System.exit(failed ? 1 : 0);
  }
}
