import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.SQLException;

/** One connection by pgjdbc as the arguments say: its URL, and a statement whose first row is printed, or the error and what caused it. */
public class DirectTls {
  public static void main(String[] args) {
    try (Connection connection = DriverManager.getConnection(args[0], "agent", System.getenv("PGPASSWORD"));
        ResultSet rows = connection.createStatement().executeQuery(args[1])) {
      rows.next();
      System.out.println(rows.getInt(1) + " " + rows.getString(2));
    } catch (SQLException error) {
      for (Throwable told = error; told != null; told = told.getCause()) System.out.println(told.getMessage());
      System.exit(1);
    }
  }
}
