"""Cut in the middle of the row, whatever the loaves weigh."""

n = int(input())
weights = [int(word) for word in input().split()]
print(abs(sum(weights[: n // 2]) - sum(weights[n // 2 :])))
